"""Inference: predictions and reconstructed leads from ECG files, and exported classifiers."""
