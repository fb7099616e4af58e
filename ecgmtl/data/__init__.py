"""Data loading: from a prepared folder to the batches of a training step."""
