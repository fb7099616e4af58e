import json
import os
import time

import pytest

from data_prep.files import file_sha256
from data_prep.store import verified
from data_prep.store.manifest import StoreError
from data_prep.store.verified import SETTLED_NS, VERIFIED, WORTH_NOTING, require_intact

NAME = "signals.npy"


@pytest.fixture(scope="module")
def content():
    return os.urandom(WORTH_NOTING)


@pytest.fixture
def folder(tmp_path, content):
    (tmp_path / NAME).write_bytes(content)
    time.sleep(1.5 * SETTLED_NS / 1e9)
    return tmp_path


@pytest.fixture
def expected(folder):
    return {NAME: file_sha256(folder / NAME)}


@pytest.fixture
def hashed(monkeypatch):
    """The files that are hashed, in order."""
    paths = []

    def note(path):
        paths.append(path.name)
        return file_sha256(path)

    monkeypatch.setattr(verified, "file_sha256", note)
    return paths


def flip(path, place=12_345):
    with path.open("r+b") as file:
        file.seek(place)
        bits = file.read(1)[0]
        file.seek(place)
        file.write(bytes([bits ^ 4]))


def test_a_file_that_nobody_wrote_to_is_hashed_once(folder, expected, hashed):
    for _ in range(3):
        require_intact(folder, expected)
    assert hashed == [NAME]
    require_intact(folder, expected, anew=True)
    assert hashed == [NAME, NAME]


def test_a_bit_flipped_after_hashing_is_detected_even_if_the_time_is_reset(folder, expected):
    require_intact(folder, expected)
    before = (folder / NAME).stat()
    flip(folder / NAME)
    os.utime(folder / NAME, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (folder / NAME).stat().st_mtime_ns == before.st_mtime_ns
    with pytest.raises(StoreError, match=r"signals\.npy: it has changed since it was written: its checksum differs"):
        require_intact(folder, expected)


def test_another_file_put_in_place_is_hashed(folder, expected, hashed, content):
    require_intact(folder, expected)
    (folder / "other").write_bytes(content)
    (folder / "other").replace(folder / NAME)
    require_intact(folder, expected)
    assert hashed == [NAME, NAME]


def test_a_note_of_another_checksum_does_not_count(folder, expected):
    require_intact(folder, expected)
    with pytest.raises(StoreError, match=NAME):
        require_intact(folder, {NAME: "0" * 64})


def test_a_file_written_to_a_moment_ago_is_not_noted(folder, expected):
    os.utime(folder / NAME)
    require_intact(folder, expected)
    assert not (folder / VERIFIED).exists()


def test_a_folder_that_cannot_be_written_to_is_hashed_each_time(folder, expected, hashed):
    (folder / VERIFIED).mkdir()
    require_intact(folder, expected)
    require_intact(folder, expected)
    assert hashed == [NAME, NAME]


@pytest.mark.parametrize("notes", [b"", b"\xff", b"3", b"[" * 100_000, json.dumps({NAME: 3}).encode()])
def test_damaged_notes_are_ignored(folder, expected, hashed, notes):
    (folder / VERIFIED).write_bytes(notes)
    require_intact(folder, expected)
    require_intact(folder, expected)
    assert hashed == [NAME]


def test_a_missing_file_is_named(folder, expected):
    with pytest.raises(StoreError, match=r"gone\.csv: not readable \(No such file"):
        require_intact(folder, expected | {"gone.csv": "0"})
