"""Records with the same samples are reported, above all if they are in different splits."""

from data_prep.preprocess import Preprocess
from data_prep.store.prepare import prepare
from tests.folders import ecg, write_record


def test_the_same_samples_under_two_names_are_reported(tmp_path, rng):
    signals = {"a": ecg(rng), "b": ecg(rng), "c": ecg(rng)}
    for name, same_as in zip("abcdef", "abcabc", strict=True):
        write_record(tmp_path / "ecgs" / name, signals[same_as])
    (tmp_path / "ecgs" / "labels.csv").write_text(
        "record,split,AF\na,train,0\nb,train,1\nc,validation,0\nd,train,1\ne,validation,1\nf,test,0\n"
    )
    prepared, again = (prepare(tmp_path / "ecgs", tmp_path / "store", Preprocess()).notes for _ in range(2))
    assert (
        again[-5:]
        == prepared[-5:]
        == (
            "  2 duplicate in another split: e, f",
            "      e (validation) holds the same samples as b (train); remove one, or put both into one split.",
            "      f (test) holds the same samples as c (validation); remove one, or put both into one split.",
            "  1 duplicate: d",
            "      d (train) holds the same samples as a (train).",
        )
    )
