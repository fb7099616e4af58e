"""Write into docs/quality.md what the bundled model loses where files lack chest leads.

python docs/make/absent_leads.py PTBXL100 STORE

PTBXL100 is a folder of PTB-XL with records at 100 Hz, STORE what `ecgmtl data prepare` made of it. The records are
those of the validation split. Leads beyond the limit, whose records are refused, are estimated here all the same.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from page import fill

from data_prep import Record, read_record
from data_prep.leads import STANDARD_LEADS
from data_prep.quality import flat_leads, lead_names
from data_prep.store.open import open_store
from ecgmtl.inference.predictor import Predictor, load_predictor
from ecgmtl.metrics.ranking import macro_auroc

PAGE = Path(__file__).parents[1] / "quality.md"
ABSENT = ("", "V3", "V6", "V1", "V2 V5", "V1 V2 V3", "V1 V2 V3 V4 V5 V6")
HEAD = ("| absent | macro AUROC | decisions changed |", "|---|--:|--:|")


def without(record: Record, absent: list[str]) -> Record:
    """Return a record without some leads."""
    kept = [index for index, lead in enumerate(STANDARD_LEADS) if lead not in absent]
    return replace(record, signal=record.signal[:, kept], leads=tuple(record.leads[index] for index in kept))


def logits_of(predictor: Predictor, records: list[Record], absent: list[str]) -> np.ndarray:
    preprocess = predictor.metadata.preprocess
    return predictor.logits(np.stack([preprocess(without(record, absent)).signal for record in records]))


def decisions_of(predictor: Predictor, logits: np.ndarray) -> np.ndarray:
    calibration = predictor.metadata.calibration
    return calibration.predicted(calibration.probabilities(logits))


def main() -> None:
    folder, store, predictor = Path(sys.argv[1]), open_store(Path(sys.argv[2])), load_predictor()
    allowed = flat_leads.MOST_ESTIMATED
    flat_leads.MOST_ESTIMATED = lead_names.MOST_ESTIMATED = len(ABSENT[-1].split())  # what is refused is measured, too
    rows = store.rows_of("validation")
    truth = store.labels(predictor.metadata.label_set)[rows]
    records = [read_record(folder / f"{name}.hea") for name in store.records["name"].iloc[rows]]
    whole = decisions_of(predictor, logits_of(predictor, records, []))
    lines = [*HEAD]
    for leads in ABSENT:
        absent = leads.split()
        logits = logits_of(predictor, records, absent)
        changed = (decisions_of(predictor, logits) != whole).mean()
        named = f"{', '.join(absent) or 'none'}{' (refused)' * (len(absent) > allowed)}"
        share = f"{changed:.1%}".replace("%", " %") if absent else ""
        lines.append(f"| {named} | {macro_auroc(logits, truth):.4f} | {share} |")
    fill(PAGE, "absent_leads.py", "\n".join(lines))


if __name__ == "__main__":
    main()
