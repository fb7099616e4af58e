"""Faults that are made on purpose, one function for each, and what they are measured by."""
