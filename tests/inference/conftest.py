"""Records that are predicted in small parts."""

import numpy as np
import pytest

from ecgmtl.inference import parts
from tests.folders import ecg, write_record


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(parts, "FILES_A_PART", 4)


@pytest.fixture(scope="module")
def eighteen(tmp_path_factory):
    """A folder of 18 records, of which one is cut off."""
    folder, rng = tmp_path_factory.mktemp("records"), np.random.default_rng(0)
    for number in range(18):
        write_record(folder / f"r{number:02d}", ecg(rng))
    (folder / "r05.dat").write_bytes(b"cut off")
    return folder
