"""The prepared folder: how it is written, resumed and opened."""
