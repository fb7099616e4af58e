"""A model card in Markdown (Mitchell et al. 2019): what a model is, learnt from and is good for, and what it is not."""

from dataclasses import dataclass

from ecgmtl.evaluation.markdown import escaped

LICENCES = {
    "ptb-xl": "PTB-XL (Wagner et al. 2020, doi:10.1038/s41597-020-0495-6), CC BY 4.0: name its authors when you share "
    "what comes of it.",
    "synthetic": "The ECGs are artificial and belong to nobody. **What this model says of a patient means nothing.**",
}
"""What to say of the data, by a part of their name, letter case and punctuation aside."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A number with its interval."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Label:
    """What the model says of one label and from which probability on."""

    name: str
    threshold: float
    slope: float = 1.0
    intercept: float = 0.0
    """Platt's: probability = sigmoid(slope · logit + intercept)."""


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """What the model learnt from."""

    name: str
    sha256: str
    n_records: dict[str, int]
    """By split."""


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """All that the card says that is not the same for every model."""

    name: str
    version: str
    """Of ecgmtl."""
    architecture: str
    """As `cnn encoder, 0.9 M parameters`."""
    learnt: tuple[str, ...]
    """What it was trained to do."""
    file: str
    """What to give to `ecgmtl predict`."""
    label_set: str
    labels: tuple[Label, ...]
    """None where it never learnt to read them."""
    data: TrainingData
    stages: tuple[str, ...]
    """One line each, in order."""
    figures: tuple[Figure, ...]
    figures_on: str
    """As `test split, 2198 records; 95 % intervals from 1000 bootstrap resamples over patients`."""
    leads: tuple[str, ...]
    fs: float
    """Hz."""
    seconds: float
    code: str = ""
    """Git commit or digest of the code."""


def render_model_card(card: ModelCard) -> str:
    """The card as Markdown."""
    sections = {
        "What it is": what_it_is(card),
        "Labels, thresholds and calibration": labels(card),
        "Input": input_signal(card),
        "Figures": figures(card),
        "Training": training(card),
        "Intended use": INTENDED_USE,
        "Limits": LIMITS,
        "How to run it": how_to_run(card),
    }
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    return f"# {escaped(card.name)}\n\n**Not a medical device.** For research only; it must not guide care.\n\n{body}\n"


INTENDED_USE = """\
Research on 12-lead ECGs: comparing methods of learning, exploring collections of records,
teaching. It was neither made nor tested for diagnosis, triage, monitoring or any other clinical decision, and no
authority has cleared it."""

LIMITS = """\
- It knows the labels above and no others; a record with none of them above its threshold is not thereby normal.
- The labels come from reports by physicians, which disagree among themselves and are in part machine-read.
- Figures hold for records like those of the split they come from. Other devices, populations, ages, pacemakers,
  filters or electrode positions change them; thresholds and calibration too. Check on your own records first.
- Rare labels rest on few records: look at the width of an interval before its middle."""


def what_it_is(card: ModelCard) -> str:
    origin = f" and code `{card.code}`" if card.code else ""
    return (
        f"A network that was trained {' and '.join(card.learnt)}: {card.architecture}. "
        f"Made by ecgmtl {card.version}{origin}."
    )


def labels(card: ModelCard) -> str:
    if not card.labels:
        return "None: it never learnt to read the labels, so nothing is predicted."
    rows = [[escaped(x.name), f"{x.threshold:.3f}", f"{x.slope:.3f}", f"{x.intercept:+.3f}"] for x in card.labels]
    return (
        f"{table(['label', 'threshold', 'slope', 'intercept'], rows)}\n\n"
        "A probability is sigmoid(slope · logit + intercept), fitted on the validation split (Platt 1999), for labels "
        "with few positives to all labels together. A label is said to be present from its threshold on, which gives "
        "the best F1 there, or is 0.5 where there are too few. Several can be present at once."
    )


def input_signal(card: ModelCard) -> str:
    return (
        f"{len(card.leads)} leads ({', '.join(card.leads)}) in millivolts, {card.seconds:g} s at {card.fs:g} Hz. "
        "`ecgmtl predict` brings other sampling rates, units, lead orders and lengths into this form and says what it "
        "changed."
    )


def figures(card: ModelCard) -> str:
    if not card.figures:
        return "None yet: `ecgmtl evaluate` gives them."
    return f"On the {card.figures_on}.\n\n{table(['figure', 'value', 'interval'], [row(x) for x in card.figures])}"


def row(figure: Figure) -> list[str]:
    known = figure.low is not None and figure.high is not None
    return [escaped(figure.name), f"{figure.value:.3f}", f"{figure.low:.3f} to {figure.high:.3f}" if known else "–"]


def training(card: ModelCard) -> str:
    counts = ", ".join(f"{n} {split}" for split, n in card.data.n_records.items())
    stages = "\n".join(f"{place}. {escaped(line)}" for place, line in enumerate(card.stages, 1))
    plain = "".join(filter(str.isalnum, card.data.name.lower()))
    licence = [text for name, text in LICENCES.items() if "".join(filter(str.isalnum, name)) in plain]
    found = " ".join(licence) or "See the data's own licence."
    return f"Data: {escaped(card.data.name)} ({counts} records; SHA-256 `{card.data.sha256}`). {found}\n\n{stages}"


def how_to_run(card: ModelCard) -> str:
    if not card.labels:
        return (
            f"```\necgmtl reconstruct {card.file} FILE --from I,II,V2 --out FILE\n```\n\n"
            "draws the leads that a record lacks, if it learnt to."
        )
    return (
        f"```\necgmtl predict {card.file} PATH... --out predictions.csv\n```\n\n"
        "PATH is a file, a folder or a pattern of WFDB, `.npz` or `.csv` records. The output has a row a record, with "
        "each label's probability and decision, the error of the reconstruction where one was learnt, and warnings."
    )


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, [":--", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
