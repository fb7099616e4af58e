"""A run as data: what a YAML file may say, and every sentence that refuses it."""
