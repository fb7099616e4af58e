"""How several losses become one step of the weights."""
