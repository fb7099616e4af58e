"""Exports: files and folders of trained classifiers for other programs."""
