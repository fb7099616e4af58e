import hashlib
from pathlib import Path

import pytest

import data_prep
from ecgmtl.files import code_digest, sha256, write_whole


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


def test_the_code_is_known_by_all_of_its_lines():
    again = hashlib.sha256()
    root = Path(data_prep.__file__).parent.parent
    for package in ("data_prep", "ecgmtl"):
        for path in sorted((root / package).rglob("*.py")):
            again.update(path.relative_to(root / package).as_posix().encode() + path.read_bytes())
    code_digest.cache_clear()
    assert code_digest() == again.hexdigest()
