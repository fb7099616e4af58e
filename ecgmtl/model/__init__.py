"""What the network is: encoders, ways of sharing them, heads, and the boosted trees beside it."""
