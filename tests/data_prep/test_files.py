import os
import time
from pathlib import Path

import pytest

from data_prep.files import partials_of, remove_abandoned, write_text, write_whole
from ecgmtl.cli.terminal import full_disk


def test_a_file_is_replaced_at_once(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    seen = []

    def write(beside):
        beside.write_text("new")
        seen.append((path.read_text(), beside.parent))

    write_whole(path, write)
    assert seen == [("old", tmp_path)]  # the same folder, so that putting it in place is one step
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_the_systems_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "none/file", lambda beside: beside.write_text("x"))


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_an_error_inside_leaves_the_old_content_and_no_partial(tmp_path, error):
    path = tmp_path / "file"
    path.write_text("old")

    def fail(beside):
        beside.write_text("ne")
        raise error

    with pytest.raises(type(error)):
        write_whole(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_text_is_written_as_it_is(tmp_path):
    write_text(tmp_path / "file", "µV\r\n")
    assert (tmp_path / "file").read_bytes() == b"\xc2\xb5V\r\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_told_by_the_name_of_the_file(tmp_path):
    def fill(beside):
        beside.symlink_to("/dev/full")
        beside.write_bytes(b"x")

    with pytest.raises(OSError, match="No space left on device") as told:
        write_whole(tmp_path / "file", fill)
    assert told.value.filename == str(tmp_path / "file")
    assert full_disk(told.value, "stopped; go on with: this") == (
        f"{tmp_path}/file: the disk is full. Files that were whole are kept. Free some space; go on with: this"
    )
    assert full_disk(told.value, "stopped.").endswith("; then run the same command again")


def test_partials_of_killed_processes_are_removed_after_an_hour(tmp_path):
    left, of_another, running = (
        tmp_path / f".{name}.partial" for name in ("a[1].csv.7-x", "b.csv.7-x", "a[1].csv.8-y")
    )
    for path in (left, of_another, running):
        path.touch()
    for path in (left, of_another):
        os.utime(path, (time.time() - 7200,) * 2)
    remove_abandoned(tmp_path, partials_of(tmp_path / "a[1].csv"))
    assert sorted(tmp_path.iterdir()) == sorted([of_another, running])
