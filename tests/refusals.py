"""Sentences with which records are refused: when they are read, and when they are prepared."""

import pytest

from data_prep import Preprocess, ReadOptions, RecordError, read_record

OPTIONS = ReadOptions()


def refusal(path, options=OPTIONS):
    """The reason why a file is not read."""
    with pytest.raises(RecordError) as caught:
        read_record(path, options)
    return str(caught.value)


def unprepared(record, **fields):
    """The reason why a record that was read is not prepared by a `Preprocess` of these fields."""
    with pytest.raises(RecordError) as caught:
        Preprocess(**fields)(record)
    return str(caught.value)
