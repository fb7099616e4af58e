import pytest

from data_prep.files import write_text, write_whole


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
