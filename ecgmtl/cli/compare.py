"""`ecgmtl compare`: train several methods with the same seeds and report which is better."""

import re
from pathlib import Path
from typing import Annotated

import typer

from ecgmtl.cli.options import StorePath, local, local_input
from ecgmtl.cli.terminal import spoken_errors


def compare(
    arms: Annotated[
        Path,
        typer.Argument(
            callback=local_input,
            help="Folder with one YAML file per arm, or a shipped folder of arms, such as configs/compare: `ecgmtl "
            "show configs` lists them. The config `_base.yaml` in the folder holds what all arms share. The file of "
            "an arm has `about`, a sentence for the report, and `set`, the settings that differ, for example "
            "{stages.0.weighting: {kind: dwa}}. The file `_claims.yaml` names the reference arm (`single` if there is "
            "no such file), and may list claims about the arms. The report has a verdict on each claim.",
        ),
    ],
    data: StorePath,
    out: Annotated[
        Path,
        typer.Option(
            callback=local,
            help="Folder for the results and the report. If it exists, its finished runs are kept.",
            show_default=False,
        ),
    ],
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds per arm. The file of an arm may set fewer.")] = 5,
    folds: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDS",
            help="Folds to evaluate the arms on, for example 1-9 or 3,6,9. For each fold, every arm is trained with "
            "every seed on all other folds outside the test split, and the report is over all folds. Without this "
            "option, the arms are evaluated on the validation split.",
        ),
    ] = None,
    tune: Annotated[
        int,
        typer.Option(
            min=0,
            help="Number of settings to try per arm, including its own, before its seeds are trained with the best "
            "ones. Settings are evaluated on a tenth of the training patients, who are held out for this. With "
            "--folds, settings are tried for each fold separately.",
        ),
    ] = 0,
    jobs: Annotated[
        int,
        typer.Option(
            min=1, help="Number of runs in parallel. They share the CPU cores, and each uses the next GPU in turn."
        ),
    ] = 1,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="ARM", help="Train only this arm. Repeatable. The report includes all finished runs."),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change one setting of the config that all arms start from, for example label_share=0.1. "
            "Settings in the file of an arm take precedence. Repeatable.",
        ),
    ] = None,
    track: Annotated[bool, typer.Option(help="Log the runs to MLflow.")] = True,
) -> None:
    """Train several methods with the same seeds and compare them.

    The report says which of these methods, called arms, is better and by how much.

    Exit codes: 0, every run succeeded. 3, some runs failed and the report includes the others.

    Example: ecgmtl compare configs/compare --data data/ptbxl --out results --seeds 3 --only single --only uncertainty
    """
    with spoken_errors(lambda: "stopped; the same command continues from here."):
        from ecgmtl.comparison.arms import load_arms
        from ecgmtl.comparison.compare import compare as compare_arms
        from ecgmtl.comparison.plan import Plan

        evaluated = () if folds is None else parse_folds(folds)
        plan = Plan(load_arms(arms, only or (), overrides or ()), data, out, seeds, tune, jobs, track, evaluated)
        outcome = compare_arms(plan, typer.echo)
    for run, reason in outcome.failed.items():
        typer.echo(f"{run}: {reason}", err=True)
    typer.echo(f"report: {outcome.report}")
    raise typer.Exit(3 if outcome.failed else 0)


def parse_folds(text: str) -> tuple[int, ...]:
    """Return the folds that `--folds` names, such as 1-9 or 1-3,9, in rising order.

    Raises:
        typer.BadParameter: a part is neither a number nor a range of numbers.
    """
    folds: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,6})(?:-(\d{1,6}))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last:
            raise typer.BadParameter(f"--folds {text}: should be folds and ranges of folds, such as 1-9 or 3,6,9.")
        folds.update(range(first, last + 1))
    return tuple(sorted(folds))
