"""Seed-sequence keys of what a run samples once: patients, and records."""

from enum import IntEnum, unique


@unique
class SampleKey(IntEnum):
    """Keys that make samples of one run independent. Published runs have the first three: leave their numbers."""

    LABELED = 1
    """Patients whose labels are kept by `label_share`."""
    REWARD = 2
    """Patients that reward a weighting, or choose a merge."""
    CURVATURE = 3
    """Records of the fixed batch on which curvature is measured."""
    VALIDATION = 4
    """Patients of `validation_share`."""
