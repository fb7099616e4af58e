"""Artificial ECGs with known labels."""
