"""The validation score of a run in words, and its model card, from the files of its folder."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from data_prep.words import counted
from ecgmtl.run_files import CARD, METRICS, VALIDATION


def score_of(run: Path) -> str:
    """Return the validation score of a run with its 95 % interval, or an empty text if it has no classifier.

    Raises:
        OSError, ValueError, LookupError, TypeError: the report is missing or damaged.
    """
    report = json.loads((run / VALIDATION / METRICS).read_text(encoding="utf-8"))
    if "classification" not in report:
        return ""
    classification = report["classification"]
    n_undefined = len(classification.get("undefined_labels", ()))
    return describe_score(classification["headline"]["macro_auroc"], report["n_records"], n_undefined)


def score_and_card(model: Path) -> tuple[str, str]:
    """Return the validation score and the model card from the folder of a run; empty texts beside any other file."""
    score = card = ""
    with suppress(OSError, ValueError, LookupError, TypeError):  # a report may be deleted or edited
        card = (model.parent / CARD).read_text(encoding="utf-8")
        score = score_of(model.parent)
    return score, card


def describe_score(macro_auroc: Mapping[str, float], n_records: int, n_undefined: int = 0) -> str:
    """Return a macro AUROC on the validation split in words: its `value`, and `low` to `high` where it has these.

    `n_undefined` labels, which all records there have or none, are not part of it.
    """
    interval = f" (95 % interval {macro_auroc['low']:.4f} to {macro_auroc['high']:.4f})" if "low" in macro_auroc else ""
    records, labels = counted(n_records, "record"), counted(n_undefined, "label")
    without = f", without {labels} that all or none of them have" if n_undefined else ""
    return f"macro AUROC {macro_auroc['value']:.4f}{interval} on the validation split, {records}{without}"
