"""Records that are predicted in small parts."""

import pytest

from ecgmtl.inference import parts
from tests.folders import write_cut_folder


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(parts, "FILES_A_PART", 4)


@pytest.fixture(scope="module")
def eighteen(tmp_path_factory):
    """A folder of 18 records, of which one is cut off."""
    folder = tmp_path_factory.mktemp("records")
    write_cut_folder(folder, 18)
    return folder
