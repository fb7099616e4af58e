"""`ecgmtl models`: list the models that can be passed by name."""

from itertools import groupby

import typer

from data_prep.safe_text import printable
from ecgmtl.cli.terminal import spoken_errors

TITLES = {
    "bundled": "Bundled with ecgmtl, used by `ecgmtl predict` where no model is named:",
    "run": "Runs in runs/, the newest first:",
    "registered": "Registered in MLflow:",
}


def models() -> None:
    """List the models that can be passed by name.

    These are the bundled one, the runs in runs/, and those registered in MLflow. Any other model is named by its path
    or MLflow URI.

    Example: ecgmtl predict ptbxl-superdiagnostic recordings/
    """
    from ecgmtl.inference.model_list import list_models

    with spoken_errors():
        for kind, group in groupby(list_models(), key=lambda model: model.kind):
            typer.echo(TITLES[kind])
            for model in group:
                typer.echo(printable(f"  {model.name}  {model.summary}"))
