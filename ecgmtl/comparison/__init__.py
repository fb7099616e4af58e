"""Comparison of arms that are trained with the same seeds: running them, storing their results, reporting on them."""
