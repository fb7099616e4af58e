"""Boosted trees on what a reader measures of an ECG."""
