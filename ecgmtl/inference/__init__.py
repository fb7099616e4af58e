"""Inference: predictions and reconstructed leads from ECG files."""
