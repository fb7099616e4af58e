"""From a model and a split to figures, tables and pictures."""
