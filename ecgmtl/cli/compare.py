"""`ecgmtl compare`: train several methods with the same seeds and report which is better."""

from pathlib import Path
from typing import Annotated

import typer

from ecgmtl.cli.options import StorePath
from ecgmtl.cli.terminal import spoken_errors


def compare(
    arms: Annotated[
        Path,
        typer.Argument(
            help="Folder with one YAML file per arm, or a shipped one: configs/compare, configs/pretraining or "
            "configs/recipes. Its file `_claims.yaml` names the reference arm (`single` if there is no such file), and "
            "may list claims about the arms. The report has a verdict on each claim."
        ),
    ],
    data: StorePath,
    out: Annotated[
        Path,
        typer.Option(
            help="Folder for results and report. If it exists, its finished runs are kept.", show_default=False
        ),
    ],
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds per arm. The file of an arm may set fewer.")] = 5,
    tune: Annotated[
        int,
        typer.Option(min=0, help="Number of settings to try per arm before its seeds are trained with the best one."),
    ] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="Number of runs in parallel, which share the CPU cores.")] = 1,
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
    """Train several methods, called arms, with the same seeds, and report which is better and by how much.

    Exit codes: 0, every run succeeded. 3, some runs failed and the report includes the others.

    Example: ecgmtl compare configs/compare --data data/ptbxl --out results --seeds 3 --only single --only uncertainty
    """
    with spoken_errors(lambda: "stopped; the same command continues from here."):
        from ecgmtl.comparison.arms import load_arms
        from ecgmtl.comparison.compare import Plan
        from ecgmtl.comparison.compare import compare as compare_arms

        plan = Plan(load_arms(arms, only or (), overrides or ()), data, out, seeds, tune, jobs, track)
        outcome = compare_arms(plan, typer.echo)
    for run, reason in outcome.failed.items():
        typer.echo(f"{run}: {reason}", err=True)
    typer.echo(f"report: {outcome.report}")
    raise typer.Exit(3 if outcome.failed else 0)
