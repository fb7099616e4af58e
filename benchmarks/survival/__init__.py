"""Faults that are caused on purpose, one function for each, and the helpers that measure the results."""
