"""Configuration: a run as data, read from YAML."""
