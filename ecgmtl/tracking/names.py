"""Names of a run's figures. Its history, MLflow, plots and comparisons share them."""

TRAIN, VALIDATION = "train/", "validation/"
"""Groups of figures of every optimizer step, and of figures on the validation split after every epoch.

MLflow shows a section for each group in alphabetical order, followed by figures without a group. Losses and weights
therefore come first, then diagnostics, then the validation split, then the scores of the final model as single bars.
"""

TRAIN_CURVATURE, TRAIN_GRADIENTS, TRAIN_WEIGHTING = "train curvature/", "train gradients/", "train weighting/"
"""Groups of diagnostics about the curvature of the main loss, the gradients of the tasks, the state of a weighting."""

LOSS, WEIGHT = "loss.", "weight."
"""Prefixes of a task's figures. The name of the task follows."""

GRADIENT_NORM, LEARNING_RATE = "gradient_norm", "lr"
GRADIENT = "gradient."
"""Prefix of figures that the diagnostics compute from the gradients of the tasks."""
CURVATURE = "curvature."
"""Prefix of figures of the Hessian and of the tangent kernel."""

MACRO_AUROC, RMSE = "macro_auroc", "rmse_mv"
SPEED = "records_per_second"


def loss(task: str) -> str:
    return f"{LOSS}{task}"


def weight(task: str) -> str:
    return f"{WEIGHT}{task}"


def train(figure: str) -> str:
    """Return the full name of a figure of a step, which begins with its group."""
    if figure == GRADIENT_NORM:
        return f"{TRAIN_GRADIENTS}norm"
    if figure.startswith(GRADIENT):
        return f"{TRAIN_GRADIENTS}{figure.removeprefix(GRADIENT)}"
    if figure.startswith(CURVATURE):
        return f"{TRAIN_CURVATURE}{figure.removeprefix(CURVATURE)}"
    is_first = figure.startswith((LOSS, WEIGHT)) or figure == LEARNING_RATE
    return f"{TRAIN if is_first else TRAIN_WEIGHTING}{figure}"


def validation(figure: str) -> str:
    return f"{VALIDATION}{figure}"


def final(split: str, figure: str = "") -> str:
    """Return the name of a figure of the final model on a split. Without `figure`, return the prefix of all of them."""
    return f"final {split} {figure}"


def task_of(figure: str) -> str:
    """Return the task of a loss or a weight, such as `train/loss.classification`, or another figure's own name."""
    return figure.rpartition("/")[2].removeprefix(LOSS).removeprefix(WEIGHT)
