"""Numbers in words."""

from data_prep.words import counted


def test_one_thing_is_singular():
    assert [counted(n, "record") for n in (0, 1, 2000)] == ["0 records", "1 record", "2,000 records"]
