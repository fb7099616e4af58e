"""The commands. Each parses its arguments, calls one function, and says what came of it."""

import os
from pathlib import Path
from typing import Annotated

import typer

from ecgmtl import __version__
from ecgmtl.cli.data import Overrides, data_app
from ecgmtl.cli.options import FollowLinks, Fs, Leads, Unit, read_options
from ecgmtl.cli.terminal import spoken_errors

app = typer.Typer(no_args_is_help=True, add_completion=True, help="Multi-task learning on 12-lead ECGs.")
app.add_typer(data_app, name="data")

StorePath = Annotated[Path, typer.Option("--data", help="A folder that `ecgmtl data prepare` wrote.")]
Model = Annotated[
    str,
    typer.Argument(
        help="A checkpoint, a run's folder, an exported .onnx or .pt2, an MLflow folder or URI (runs:/…, models:/…)."
    ),
]
Checkpoint = Annotated[Path, typer.Argument(help="A checkpoint, or the folder of the run that trained it.")]


def main() -> None:
    """Entry point of the `ecgmtl` command."""
    # OpenMP threads that sleep between operations take half as long again to train a small network, and those that spin
    # for long are slower than one as soon as anything else runs: so they spin for some microseconds
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    app()


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if show:
        typer.echo(f"ecgmtl {__version__}")
        raise typer.Exit


@app.command()
def train(
    config: Annotated[
        Path | None,
        typer.Option(
            help="A whole run: a YAML file, or a shipped config by name ('ecgmtl show configs' lists them). "
            "When absent: ptbxl with --data, a small demonstration without."
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="A prepared folder; built-in synthetic ECGs when absent.")
    ] = None,
    stage: Annotated[str | None, typer.Option(help="Train up to and including this stage.")] = None,
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; runs/<name>-<time> when absent.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Folder of an interrupted run, to go on with.")] = None,
    threads: Annotated[int, typer.Option(min=0, help="Threads of the processor; 0 for all.")] = 0,
    track: Annotated[bool, typer.Option(help="Log the run to MLflow.")] = True,
) -> None:
    """Run a schedule of training stages, from pretraining to the decay of the auxiliary weight."""
    if resume is not None and (config or overrides or out or data):
        raise typer.BadParameter("a resumed run has its settings already; give --resume alone")
    place: list[Path] = []

    def said() -> str:
        is_kept = place and (place[0] / "run.json").is_file()
        return f"stopped; go on with: ecgmtl train --resume {place[0]}" if is_kept else "stopped."

    with spoken_errors(said):
        from ecgmtl.cli.train import Session, settings_of, start_training
        from ecgmtl.training.folder import RunFolder

        settings = RunFolder.reopen(resume) if resume else settings_of(config, tuple(overrides or ()), data)
        model = start_training(settings, data, out, stage, Session(threads, track, place.append))
    typer.echo(f"model: {model}")


@app.command()
def compare(
    arms: Annotated[
        Path,
        typer.Argument(
            help="Folder with a YAML file for each arm, or a shipped one: configs/compare, configs/pretraining, "
            "configs/recipes. All arms are compared to `single`."
        ),
    ],
    data: StorePath,
    out: Annotated[Path, typer.Option(help="Folder of results and report; one that exists is gone on with.")],
    seeds: Annotated[int, typer.Option(min=1, help="Seeds an arm; an arm's file may ask for fewer.")] = 5,
    tune: Annotated[int, typer.Option(min=0, help="Settings to try for each arm before its seeds are run.")] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time, each with its share of the processor.")] = 1,
    only: Annotated[
        list[str] | None, typer.Option(help="Run this arm alone; repeatable. The report has all that was ever run.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change one setting of the base that arms start from: label_share=0.1. What an arm's file sets stays. "
            "Repeatable.",
        ),
    ] = None,
    track: Annotated[bool, typer.Option(help="Log the runs to MLflow.")] = True,
) -> None:
    """Train ways of learning side by side from the same seeds, and report which is better by how much."""
    with spoken_errors(lambda: "stopped; the same command goes on where it was."):
        from ecgmtl.comparison.arms import load_arms
        from ecgmtl.comparison.compare import Plan
        from ecgmtl.comparison.compare import compare as compare_arms

        plan = Plan(load_arms(arms, only or (), overrides or ()), data, out, seeds, tune, jobs, track)
        outcome = compare_arms(plan, typer.echo)
    for run, reason in outcome.failed.items():
        typer.echo(f"{run}: {reason}", err=True)
    typer.echo(f"report: {outcome.report}")
    raise typer.Exit(3 if outcome.failed else 0)


@app.command()
def evaluate(
    model: Checkpoint,
    data: StorePath,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    protocol: Annotated[str, typer.Option(help="whole, helme or fm-bench.")] = "whole",
    out: Annotated[Path | None, typer.Option(help="Folder of the report; beside the model when absent.")] = None,
    leads: Annotated[
        str | None, typer.Option("--from", metavar="LEADS", help="Measure, too, how the others are drawn from I,II,V2.")
    ] = None,
    stress: Annotated[
        bool, typer.Option("--stress", help="Measure, too, what filters, noise, swapped or lost leads cost.")
    ] = False,
) -> None:
    """Measure a checkpoint on a split: figures with intervals, tables, plots."""
    with spoken_errors():
        from data_prep.lead_set import LeadSet
        from ecgmtl.cli.commands import evaluate_to
        from ecgmtl.evaluation.evaluate import Further

        try:
            further = Further(LeadSet.parse(leads) if leads is not None else None, stress)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        text, folder = evaluate_to(model, data, split, protocol, out, further)
    typer.echo(text)
    typer.echo(f"report: {folder}")


@app.command()
def predict(
    model: Model,
    paths: Annotated[list[str], typer.Argument(help="Files, folders or globs of WFDB, .npz, .csv.")],
    out: Annotated[
        Path | None, typer.Option(help="predictions.csv, .parquet or .jsonl; a table on screen when absent.")
    ] = None,
    fs: Fs = None,
    unit: Unit = None,
    leads: Leads = None,
    follow_links: FollowLinks = False,
    batch: Annotated[int, typer.Option(min=1)] = 64,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 3 also where files are found that no reader reads.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where unforeseen errors arise.")] = False,
) -> None:
    """Read ECG files and write a row a record: probabilities, calibrated ones, decisions, warnings.

    No decision is made, and its columns are empty, where a lead is noise or spans more than 20 mV, where half of the
    leads are too large, and where the reconstruction error exceeds 1 mV. The warnings begin with the reason. The last
    check needs a decoder: checkpoints have one, exported models (.onnx, .pt2, MLflow) do not.

    A WFDB record that joins segments gives one row. Its segments give rows of their own only if they are named.

    Other files in a folder are counted and named: formats without a reader, tables about records, notes.

    Exit codes: 0, every record was predicted. 1, none was. 2, the command was wrong. 3, some failed, and the rest was
    predicted; with --strict also where files of formats without a reader were found.

    A path that a spreadsheet would run as a formula is written as ./=cmd.csv, a message as '=cmd.csv. Control
    characters are spelled out.
    """
    with spoken_errors():
        from ecgmtl.cli.commands import predict_to

        counts = predict_to(model, paths, out, read_options(fs, unit, leads, follow_links), batch, debug)
    raise typer.Exit(counts.exit_code(strict))


@app.command()
def reconstruct(
    model: Annotated[Path, typer.Argument(help="A checkpoint or a run's folder; exported models have no decoder.")],
    file: Annotated[str, typer.Argument(help="One record: WFDB, .npz or .csv. It may lack the other leads.")],
    start: Annotated[str, typer.Option("--from", metavar="LEADS", help="The leads to start from, as I,II,V2.")],
    out: Annotated[Path, typer.Option(help="The WFDB record to write.")],
    fs: Fs = None,
    unit: Unit = None,
    leads: Leads = None,
    follow_links: FollowLinks = False,
) -> None:
    """Fill in the leads that a record lacks, drawn by the model and marked as such; other leads of it are not used."""
    with spoken_errors():
        from data_prep.lead_set import LeadSet
        from ecgmtl.cli.commands import reconstruct_to

        try:
            known = LeadSet.parse(start)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        reconstruct_to(model, file, known, out, read_options(fs, unit, leads, follow_links))


@app.command()
def export(
    model: Checkpoint,
    to: Annotated[str, typer.Option(help="onnx, pt2 or mlflow.")],
    out: Annotated[Path, typer.Option(help="File, or folder for mlflow.")],
    data: Annotated[
        Path | None, typer.Option("--data", help="Prepared records to compare on; synthetic ones when absent.")
    ] = None,
) -> None:
    """Write the classifier alone, checked against the checkpoint before it is kept."""
    with spoken_errors():
        import torch

        from ecgmtl import checkpoint
        from ecgmtl.checkpoint import model_file
        from ecgmtl.cli.commands import records_to_compare
        from ecgmtl.inference.export import export as export_classifier

        stored = checkpoint.load(model_file(model))
        signals = torch.from_numpy(records_to_compare(stored.config, data))
        report = export_classifier(stored, to, out, signals)
    typer.echo(
        f"{report.path}: {report.size_bytes / 1e6:.2f} MB, "
        f"probabilities differ by at most {report.max_difference:.1e} on {report.n_records} records"
    )


@app.command()
def ui(port: Annotated[int, typer.Option(min=0, help="0 for a free one.")] = 5000) -> None:
    """Open MLflow's user interface on this folder's runs."""
    with spoken_errors():
        from ecgmtl.tracking.ui import serve

        code = serve(port, say=typer.echo)
    raise typer.Exit(code)


@app.command()
def show(
    source: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|CONFIG|configs",
            help="A checkpoint, a run's folder, a config (file or shipped name), or `defaults`. "
            "`configs` lists the shipped ones.",
        ),
    ],
    overrides: Overrides = None,
) -> None:
    """Print a config as it would run, defaults included; or what a checkpoint holds."""
    with spoken_errors():
        from ecgmtl.cli.show import describe

        typer.echo(describe(source, tuple(overrides or ())))


if __name__ == "__main__":
    main()
