"""Boosted trees on ECG measurements."""
