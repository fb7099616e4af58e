"""The commands of `ecgmtl data`: from ECG files to a prepared folder."""

import os
from pathlib import Path
from typing import Annotated

import typer

from data_prep.safe_text import printable, printable_lines
from ecgmtl.cli.options import FollowLinks, Fs, Leads, Unit, read_options
from ecgmtl.cli.terminal import progress_bar, spoken_errors

data_app = typer.Typer(no_args_is_help=True, help="From ECG files to a prepared folder.")

ConfigPath = Annotated[
    Path | None,
    typer.Option("--config", help="Prepare as this config asks: a YAML file, or a shipped config by name."),
]
Workers = Annotated[int, typer.Option(min=0, help="Processes; 0 for one a core.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one setting: stages.0.epochs=3. Repeatable."),
]


@data_app.command()
def synth(
    out: Path,
    records: Annotated[int, typer.Option(min=10, help="How many ECGs.")] = 1000,
    seed: int = 0,
    fs: Annotated[int, typer.Option(help="100 or 500 Hz.")] = 100,
) -> None:
    """Write a PTB-XL-shaped folder of artificial ECGs with known labels."""
    with spoken_errors(), progress_bar("synthesizing") as bar:
        from data_prep.synthetic.folder import write_ptbxl

        write_ptbxl(out, records, seed, fs=fs, progress=bar)
    typer.echo(printable(f"{records} artificial ECGs in {out}; next: ecgmtl data prepare {out} {out}-prepared"))


@data_app.command()
def prepare(
    source: Annotated[Path, typer.Argument(help="PTB-XL's folder, or any folder of WFDB records with a labels.csv.")],
    out: Annotated[Path, typer.Argument(help="The prepared folder.")],
    labels: Annotated[
        str | None,
        typer.Option(
            help="Label set to train on by default: all, diagnostic, subdiagnostic, superdiagnostic, form, rhythm."
        ),
    ] = None,
    fs: Fs = None,
    unit: Unit = None,
    leads: Leads = None,
    follow_links: FollowLinks = False,
    workers: Workers = 0,
    config: ConfigPath = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change one setting of the preparation: preprocess.fs=500 stores 500 samples a second. Repeatable.",
        ),
    ] = None,
) -> None:
    """Read, check and preprocess every record once, into one array that training maps into memory."""
    others = [override for override in overrides or () if not override.startswith("preprocess.")]
    if others:
        raise typer.BadParameter(
            f"--set {others[0]}: preparing uses the settings of preprocess alone, as preprocess.fs=500."
        )
    with spoken_errors(lambda: "stopped; the same command goes on where it was."), progress_bar("preparing") as bar:
        from data_prep.preprocess import Preprocess
        from data_prep.store.prepare import prepare as prepare_store

        preprocess = Preprocess()
        if config is not None or overrides:
            from ecgmtl.config.run import load_config
            from ecgmtl.config.shipped import find_config

            preprocess = load_config(config and find_config(config), tuple(overrides or ())).preprocess
        options = read_options(fs, unit, leads, follow_links)
        report = prepare_store(source, out, preprocess, labels, workers or os.cpu_count() or 1, bar, options)
    for note in report.notes:
        typer.echo(printable(note))
    for name, reason in report.failures:
        typer.echo(printable(f"{name}: {reason}"), err=True)
    typer.echo(
        printable(f"{report.n_records} records in {out}")
        + (f", {len(report.failures)} left out" if report.failures else "")
    )
    raise typer.Exit(3 if report.failures else 0)


@data_app.command()
def check(
    source: Path,
    fs: Fs = None,
    unit: Unit = None,
    leads: Leads = None,
    follow_links: FollowLinks = False,
    workers: Workers = 0,
) -> None:
    """Say what is wrong with a folder of records, or a prepared one, before anything is trained on it."""
    with spoken_errors(), progress_bar("checking") as bar:
        from data_prep.check import check as check_folder
        from data_prep.store.manifest import MANIFEST

        if (source / MANIFEST).is_file():
            from data_prep.store.open import check_store

            typer.echo(printable(check_store(source)))
            return
        report = check_folder(source, workers or os.cpu_count() or 1, bar, read_options(fs, unit, leads, follow_links))
    typer.echo(printable_lines(report.render()))
    raise typer.Exit(3 if report.findings else 0)
