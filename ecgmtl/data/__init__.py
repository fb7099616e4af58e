"""From a prepared folder to the signals that a training step sees."""
