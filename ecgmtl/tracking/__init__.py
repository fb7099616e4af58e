"""MLflow behind a few methods."""
