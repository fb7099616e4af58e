"""Optimization: from several losses to one step of the weights."""
