"""Callback by which long work reports its progress."""

from collections.abc import Callable

ProgressCallback = Callable[[int, int], None]
"""Callback that takes how many parts of the work are done, and how many there are."""
