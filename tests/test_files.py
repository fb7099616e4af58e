import pytest

from ecgmtl.files import sha256, write_whole


def test_sha256_is_the_standard_one():
    assert sha256(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1


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
