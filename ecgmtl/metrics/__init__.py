"""Metrics of predictions, independent of any model."""
