"""Formats of exports."""

from ecgmtl.export.format import ExportFormat
from ecgmtl.inference.models import EXPORTS


def test_the_files_that_are_exported_are_known_as_models():
    assert tuple(f".{form}" for form in ExportFormat if not form.is_folder) == EXPORTS
