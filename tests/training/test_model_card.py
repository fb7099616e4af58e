from dataclasses import replace

import pytest

from ecgmtl.evaluation.text import markdown
from ecgmtl.training.model_card import (
    Figure,
    Label,
    ModelCard,
    TrainingData,
    render_description,
    render_model_card,
)

CARD = ModelCard(
    name="quick",
    version="0.1.0",
    learned=("to predict the label set `superdiagnostic` from an ECG", "to reconstruct masked parts of an ECG"),
    architecture="cnn encoder, 0.9 M parameters",
    label_set="superdiagnostic",
    labels=(Label(name="NORM", threshold=0.41, slope=1.2, intercept=-0.3), Label(name="A|B", threshold=0.5)),
    data=TrainingData(name="PTB-XL 1.0.3", sha256="ab" * 32, n_records={"train": 17418, "validation": 2183}),
    stages=("pretrain: reconstruction, 20 epochs", "joint: both, uncertainty weighting"),
    figures=(Figure(name="macro AUROC", value=0.9254, low=0.918, high=0.931), Figure(name="RMSE (mV)", value=0.05)),
    figures_on="test split, 2198 records",
    leads=("I", "II"),
    fs=100,
    seconds=10.0,
)


@pytest.mark.parametrize(
    "text",
    [
        "**Not a medical device.**",
        "17418 train, 2183 validation records; SHA-256 `" + "ab" * 32 + "`",
        "CC BY 4.0",
        "1. pretrain: reconstruction, 20 epochs\n2. joint: both, uncertainty weighting\n",
        "trained to predict the label set `superdiagnostic` from an ECG and to reconstruct masked parts of an ECG: cnn",
        "| macro AUROC | 0.925 | 0.918 to 0.931 |\n| RMSE (mV) | 0.050 | – |",
        "| NORM | 0.410 | 1.200 | -0.300 |",
        "2 leads (I, II) in millivolts, 10 s at 100 Hz",
        "ecgmtl predict MODEL PATH...",
    ],
)
def test_the_card_contains(text):
    assert text in render_model_card(CARD)


def test_the_card_has_the_license_of_ptbxl_and_a_warning_on_synthetic_ecgs():
    other = render_model_card(replace(CARD, data=replace(CARD.data, name="our ward")))
    assert "CC BY" not in other
    assert "See the data's own license" in other
    artificial = render_model_card(replace(CARD, data=replace(CARD.data, name="synthetic ECGs")))
    assert "means nothing" in artificial


def test_the_card_omits_tasks_that_were_not_trained():
    reconstructor = render_model_card(replace(CARD, labels=(), learned=("to reconstruct masked parts of an ECG",)))
    assert "was trained to reconstruct masked parts of an ECG:" in reconstructor
    assert "ecgmtl predict MODEL" not in reconstructor
    assert "threshold" not in reconstructor.split("## Input")[0].split("## Labels")[1].split("\n", 1)[1]


def test_label_names_are_escaped_in_the_table():
    lines = [line for line in render_model_card(CARD).splitlines() if "A\\|B" in line]
    assert [line.replace("\\|", "").count("|") for line in lines] == [5]


def test_a_card_without_scores_names_the_command_that_computes_them():
    assert "`ecgmtl evaluate`" in render_model_card(replace(CARD, figures=()))


@pytest.mark.parametrize(
    "text",
    [
        "**Not a medical device.**",
        "A neural network that was trained to predict the label set `superdiagnostic`",
        "2 leads (I, II) in millivolts, 10 s at 100 Hz",
        "columns of one float32 tensor in this order: NORM, A\\|B.",
        "## Intended use\n\nResearch on 12-lead ECGs",
        "`ecgmtl predict MODEL_URI FILES`",
    ],
)
def test_the_description_for_mlflow_contains(text):
    assert text in render_description(CARD)


EVIL = "<script>x</script> [a](http://b) ``` A|B\n# C\x1b\u202e"


def test_names_from_the_data_cannot_inject_markdown():
    data = replace(CARD.data, name=EVIL)
    card = render_model_card(
        replace(CARD, name=EVIL, data=data, stages=(EVIL,), labels=(Label(name=EVIL, threshold=0.5),))
    )
    assert not [mark for mark in ("<script", "</script", "a](", "\n# C", "\x1b", "\u202e") if mark in card]
    assert card.count("&lt;script>x&lt;/script>") == 4
    table = markdown(("label", "p"), [(EVIL, "<0.001")])
    assert len(table.splitlines()) == 3
    assert "<0.001" in table
    assert "&lt;script>" in table
