"""Training: a config becomes a finished run."""
