"""Names of a run's figures, the same in its history, in MLflow, in plots and in a comparison."""

TRAIN, VALIDATION = "train/", "validation/"
"""Groups of figures: of every optimizer step, and of the validation split after every epoch.

MLflow shows a section for each group in alphabetical order, and figures without a group behind them. Losses and
weights therefore come first, then diagnostics, then the validation split, then the single bars of the final model.
"""

TRAIN_GRADIENTS, TRAIN_WEIGHTING = "train gradients/", "train weighting/"
"""Groups of diagnostics: of the tasks' gradients, and of a weighting's own state."""

LOSS, WEIGHT = "loss.", "weight."
"""Beginnings of a task's figures. The task's name follows."""

GRADIENT_NORM, LEARNING_RATE = "gradient_norm", "lr"
GRADIENT = "gradient."
"""Beginning of what the diagnostics compute from the tasks' gradients."""

MACRO_AUROC, RMSE = "macro_auroc", "rmse_mv"
SPEED = "records_per_second"


def loss(task: str) -> str:
    return f"{LOSS}{task}"


def weight(task: str) -> str:
    return f"{WEIGHT}{task}"


def train(figure: str) -> str:
    """Return the name of a figure of a step, in the group that it belongs to."""
    if figure == GRADIENT_NORM:
        return f"{TRAIN_GRADIENTS}norm"
    if figure.startswith(GRADIENT):
        return f"{TRAIN_GRADIENTS}{figure.removeprefix(GRADIENT)}"
    is_first = figure.startswith((LOSS, WEIGHT)) or figure == LEARNING_RATE
    return f"{TRAIN if is_first else TRAIN_WEIGHTING}{figure}"


def validation(figure: str) -> str:
    return f"{VALIDATION}{figure}"


def final(split: str, figure: str = "") -> str:
    """Return the name of a figure of the finished model on a split, or of all of them where none is named."""
    return f"final {split} {figure}"


def task_of(figure: str) -> str:
    """Return the task of a loss or a weight, such as `train/loss.classification`; other figures' own names."""
    return figure.rpartition("/")[2].removeprefix(LOSS).removeprefix(WEIGHT)
