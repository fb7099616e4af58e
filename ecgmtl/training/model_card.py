"""Model card in Markdown (Mitchell et al. 2019): what a model is, its data, its intended use and its limits."""

from dataclasses import dataclass

from data_prep.readers import format_names
from ecgmtl.evaluation.markdown import escaped

LICENSES = {
    "ptb-xl": "PTB-XL (Wagner et al. 2020, doi:10.1038/s41597-020-0495-6), CC BY 4.0: credit its authors when you "
    "share results.",
    "synthetic": "The ECGs are artificial and belong to nobody. **What this model says of a patient means nothing.**",
}
"""Sentence about the data, by a part of their name in lower case without punctuation."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A score with its 95 % interval."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Label:
    """A label, its decision threshold and its calibration."""

    name: str
    threshold: float
    slope: float = 1.0
    intercept: float = 0.0
    """Platt scaling: probability = sigmoid(slope · logit + intercept)."""


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """Data that the model was trained and validated on."""

    name: str
    sha256: str
    n_records: dict[str, int]
    """Number of records by split."""


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """Facts on the card that differ between models."""

    name: str
    version: str
    """Version of ecgmtl."""
    architecture: str
    """Architecture in words, such as `cnn encoder, 0.9 M parameters`."""
    learned: tuple[str, ...]
    """Tasks in words, such as `to predict the label set superdiagnostic`."""
    label_set: str
    labels: tuple[Label, ...]
    """Empty where the model never learned to classify."""
    data: TrainingData
    stages: tuple[str, ...]
    """Training stages in order, a line each."""
    figures: tuple[Figure, ...]
    figures_on: str
    """Split in words, such as `test split, 2198 records; 95 % intervals from 1000 resamples over patients`."""
    leads: tuple[str, ...]
    fs: float
    """Hz."""
    seconds: float
    code: str = ""
    """Git commit or digest of the code."""


def render_model_card(card: ModelCard) -> str:
    """Return the card as Markdown."""
    sections = {
        "What it is": what_it_is(card),
        "Labels, thresholds and calibration": labels(card),
        "Input": input_signal(card),
        "Scores": figures(card),
        "Training": training(card),
        "Intended use": INTENDED_USE,
        "Limits": LIMITS,
        "How to run it": how_to_run(card),
    }
    return f"# {escaped(card.name)}\n\n{NOT_A_DEVICE}\n\n{as_markdown(sections)}\n"


def render_description(card: ModelCard) -> str:
    """Return the part of the card that a user of the classifier in MLflow needs, as Markdown."""
    sections = {
        "What it is": what_it_is(card),
        "Input": input_signal(card),
        "Output": output(card),
        "Intended use": INTENDED_USE,
        "How to run it": "`ecgmtl predict MODEL_URI FILES` prepares signals, calibrates probabilities and decides.",
    }
    return f"{NOT_A_DEVICE}\n\n{as_markdown(sections)}\n"


def as_markdown(sections: dict[str, str]) -> str:
    return "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())


NOT_A_DEVICE = "**Not a medical device.** For research only. It must not guide care."

INTENDED_USE = (
    "Research on 12-lead ECGs: comparing methods of machine learning, exploring collections of records, teaching. The "
    "model was neither made nor tested for diagnosis, triage, monitoring or any other clinical decision, and no "
    "authority has cleared it."
)

LIMITS = """\
- The model knows the labels above and no others. A record for which it predicts none of them is not necessarily normal.
- The labels are only as good as their source. Physicians disagree on ECGs, and some reports are automatic.
- Scores, thresholds and calibration hold for records like those of the split that they come from. Other devices,
  populations, ages, pacemakers, filters and electrode positions change them. Check the model on your own records first.
- Rare labels have few records, so their intervals are wide. Do not compare scores without them."""


def what_it_is(card: ModelCard) -> str:
    origin = f" and code `{card.code}`" if card.code else ""
    return (
        f"A neural network that was trained {' and '.join(card.learned)}: {card.architecture}. "
        f"Made by ecgmtl {card.version}{origin}."
    )


def output(card: ModelCard) -> str:
    names = ", ".join(escaped(label.name) for label in card.labels)
    return (
        f"A logit for each of the {len(card.labels)} labels of the set `{card.label_set}`, as the columns of one "
        f"float32 tensor in this order: {names}. A calibrated probability is sigmoid(slope · logit + intercept). "
        "Slopes, intercepts and decision thresholds are in the file `MLmodel`, under `metadata.ecgmtl`."
    )


def labels(card: ModelCard) -> str:
    if not card.labels:
        return "None. The model never learned to classify, so it predicts no labels."
    rows = [[escaped(x.name), f"{x.threshold:.3f}", f"{x.slope:.3f}", f"{x.intercept:+.3f}"] for x in card.labels]
    return (
        f"{table(['label', 'threshold', 'slope', 'intercept'], rows)}\n\n"
        "A probability is sigmoid(slope · logit + intercept), fitted on the validation split (Platt 1999). Labels with "
        "few positives share one fit over all labels. A label is predicted as present from its threshold on. The "
        "threshold is half of the best expected F1 (Lipton et al. 2014), by the calibrated probabilities of the "
        "validation split, or 0.5 where there are too few positives. Several labels can be present at once."
    )


def input_signal(card: ModelCard) -> str:
    return (
        f"{len(card.leads)} leads ({', '.join(card.leads)}) in millivolts, {card.seconds:g} s at {card.fs:g} Hz. "
        "`ecgmtl predict` converts other sampling rates, units, lead orders and lengths to this form and reports what "
        "it changed."
    )


def figures(card: ModelCard) -> str:
    if not card.figures:
        return "None yet. `ecgmtl evaluate` computes them."
    return f"On the {card.figures_on}.\n\n{table(['score', 'value', '95 % interval'], [row(x) for x in card.figures])}"


def row(figure: Figure) -> list[str]:
    has_interval = figure.low is not None and figure.high is not None
    interval = f"{figure.low:.3f} to {figure.high:.3f}" if has_interval else "–"
    return [escaped(figure.name), f"{figure.value:.3f}", interval]


def training(card: ModelCard) -> str:
    counts = ", ".join(f"{n} {split}" for split, n in card.data.n_records.items())
    stages = "\n".join(f"{number}. {escaped(line)}" for number, line in enumerate(card.stages, 1))
    plain = "".join(filter(str.isalnum, card.data.name.lower()))
    licenses = [text for name, text in LICENSES.items() if "".join(filter(str.isalnum, name)) in plain]
    terms = " ".join(licenses) or "See the data's own license."
    return f"Data: {escaped(card.data.name)} ({counts} records; SHA-256 `{card.data.sha256}`). {terms}\n\n{stages}"


def how_to_run(card: ModelCard) -> str:
    if not card.labels:
        return (
            "```\necgmtl reconstruct MODEL FILE --from I,II,V2 --out FILE\n```\n\n"
            "reconstructs the leads that a record lacks, if the model learned to. MODEL is the run's folder or name."
        )
    return (
        "```\necgmtl predict MODEL PATH... --out predictions.csv\n```\n\n"
        "MODEL is the run's folder or name, or an exported model. "
        f"PATH is a file, a folder or a pattern of records: {format_names()}. The output has one row for each record, "
        "with each label's probability and decision, the reconstruction error where the model learned to reconstruct, "
        "and warnings."
    )


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, [":--", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
