"""The model: encoders, ways of sharing them, heads, and the boosted trees beside the network."""
