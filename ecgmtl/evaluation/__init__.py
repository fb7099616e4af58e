"""Evaluation: metrics, tables and plots of a model on a split."""
