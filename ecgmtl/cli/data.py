"""The commands of `ecgmtl data`, which turn ECG files into a prepared folder."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from data_prep.safe_text import printable, printable_lines
from data_prep.words import counted
from ecgmtl.cli.options import (
    EngineName,
    FollowLinks,
    Fs,
    Leads,
    Unit,
    Workers,
    engine_of,
    local,
    local_input,
    read_options,
    share_of,
)
from ecgmtl.cli.terminal import progress_bar, spoken_errors

data_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode="markdown", help="Check ECG files, and prepare them for training."
)

ConfigPath = Annotated[
    Path | None,
    typer.Option(
        "--config",
        callback=local_input,
        help="Config whose preprocessing is used: a YAML file, or the name of a shipped config.",
    ),
]


@data_app.command()
def synth(
    out: Annotated[Path, typer.Argument(callback=local, help="Folder to write.")],
    records: Annotated[int, typer.Option(min=10, help="Number of ECGs.")] = 1000,
    seed: Annotated[int, typer.Option(help="Random seed. The same seed writes the same ECGs.")] = 0,
    fs: Annotated[int, typer.Option(help="Sampling rate in hertz, 100 or 500.")] = 100,
) -> None:
    """Write artificial ECGs with known labels.

    The folder has the layout of PTB-XL.
    """
    with spoken_errors(), progress_bar("synthesizing") as bar:
        from data_prep.synthetic.folder import write_ptbxl

        write_ptbxl(out, records, seed, fs=fs, progress=bar)
    typer.echo(printable(f"{records} artificial ECGs in {out}; next: ecgmtl data prepare {out} {out}-prepared"))


@data_app.command()
def download(
    out: Annotated[
        Path, typer.Argument(callback=local, help="Folder to write. Files that are there and verified are kept.")
    ],
    rate: Annotated[
        Literal["100", "500", "both"], typer.Option(help="Sampling rate of the records to fetch, in hertz.")
    ] = "100",
    source: Annotated[
        str | None, typer.Option(help="Address of a copy; by default PTB-XL 1.0.3 at physionet.org.", metavar="URL")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, max=32, help="Number of files to download at a time.")] = 8,
) -> None:
    """Download PTB-XL from PhysioNet.

    Every file is verified against the publisher's SHA-256 sums.

    If the download is interrupted, run the same command again to continue. Files that could not be fetched are listed,
    and the exit code is then 3.
    """
    with spoken_errors(lambda: "stopped; the same command continues from here."), progress_bar("fetching") as bar:
        from data_prep.sources.download import PUBLISHER
        from data_prep.sources.download import download as fetch

        done = fetch(out, rate, source or PUBLISHER, jobs, bar)
    for path, reason in done.failures:
        typer.echo(printable(f"{path}: {reason}"), err=True)
    failed = f", {len(done.failures)} failed; the same command tries these again" if done.failures else ""
    typer.echo(printable(f"{counted(done.n_files, 'file')} verified in {out}, {done.n_fetched} fetched now{failed}"))
    if not done.failures:
        typer.echo(
            printable(f"PTB-XL (Wagner et al., 2020) is CC BY 4.0; next: ecgmtl data prepare {out} {out}-prepared")
        )
    raise typer.Exit(3 if done.failures else 0)


@data_app.command()
def prepare(
    source: Annotated[
        str,
        typer.Argument(
            help="PTB-XL's folder, or any folder of ECG files with a labels.csv. It may be a remote address: "
            "s3://bucket/folder/, https://host/folder/ (docs/cluster.md)."
        ),
    ],
    out: Annotated[Path, typer.Argument(callback=local, help="Prepared folder to write.")],
    labels: Annotated[
        str | None,
        typer.Option(
            help="Label set that training uses by default. PTB-XL has all, diagnostic, subdiagnostic, "
            "superdiagnostic, form and rhythm."
        ),
    ] = None,
    fs: Fs = None,
    unit: Unit = None,
    leads: Leads = None,
    follow_links: FollowLinks = False,
    workers: Workers = 0,
    engine: EngineName = "local",
    part: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Prepare every N-th chunk of 64 records, starting with the I-th, as job I of N that share the folder "
            "OUT. Default: all chunks.",
            show_default=False,
        ),
    ] = None,
    config: ConfigPath = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change one setting of the preprocessing, for example preprocess.fs=500. Repeatable.",
        ),
    ] = None,
) -> None:
    """Prepare every record for training.

    Records are read, checked, preprocessed and written as one array. Those that cannot be used are left out and listed,
    and the exit code is then 3. Warnings are in the column `warnings` of OUT/records.csv. If the preparation is
    interrupted, run the same command again to continue.

    Several machines that share the folder OUT can prepare it together: each runs the same command with a different
    --part, at any time. The one that finds all chunks finished writes the tables, and the result is the same as from
    one machine. The same command without --part completes what is left. docs/cluster.md has an example.
    """
    share = None if part is None else share_of(part)
    others = [override for override in overrides or () if not override.startswith("preprocess.")]
    if others:
        raise typer.BadParameter(
            f"--set {others[0]}: `data prepare` has only settings of preprocess, for example preprocess.fs=500."
        )
    with spoken_errors(lambda: "stopped; the same command continues from here."), progress_bar("preparing") as bar:
        from data_prep.parallel import in_parallel
        from data_prep.places import parse_place
        from data_prep.preprocess import Preprocess
        from data_prep.store.prepare import prepare as prepare_store

        preprocess = Preprocess()
        if config is not None or overrides:
            from ecgmtl.config.run import load_config
            from ecgmtl.config.shipped import find_config

            preprocess = load_config(config and find_config(config), tuple(overrides or ())).preprocess
        options = read_options(fs, unit, leads, follow_links)
        run, at_once = engine_of(engine, workers, in_parallel)
        report = prepare_store(
            parse_place(source),
            out,
            preprocess,
            labels,
            workers=at_once,
            progress=bar,
            options=options,
            engine=run,
            share=share,
        )
    for note in report.notes:
        typer.echo(printable(note))
    for name, reason in report.failures:
        typer.echo(printable(f"{name}: {reason}"), err=True)
    counts = {"left out": len(report.failures), "with warnings": report.n_warned, "there already": report.n_resumed}
    of_these = "".join(f", {count} {what}" for what, count in counts.items() if count)
    if report.n_chunks is None:
        typer.echo(printable(f"{counted(report.n_records, 'record')} in {out}") + of_these)
    else:
        typer.echo(f"{counted(report.n_records, 'record')} in part {part}" + of_these)
        rest = "; another job is still at work, and completes it" if report.n_finished == report.n_chunks else ""
        typer.echo(printable(f"{report.n_finished} of {report.n_chunks} chunks of {out} are finished{rest}"))
    raise typer.Exit(3 if report.failures else 0)


@data_app.command()
def check(
    source: Annotated[
        str, typer.Argument(help="Folder of ECG files, with or without tables, or a prepared folder to verify.")
    ],
    fs: Fs = None,
    unit: Unit = None,
    leads: Leads = None,
    follow_links: FollowLinks = False,
    workers: Workers = 0,
) -> None:
    """Check a folder of ECG files, or verify a prepared folder.

    Everything that is wrong is listed, and nothing is written. The exit code is 3 if anything is wrong, for example if
    a file could not be read. Notes, such as the one on a short record, leave it at 0.
    """
    from data_prep.places import is_remote

    if is_remote(source):
        raise typer.BadParameter(
            "SOURCE: only local folders are checked; `ecgmtl data prepare` lists what cannot be read of a remote one."
        )
    folder = Path(source)
    with spoken_errors(), progress_bar("checking") as bar:
        from data_prep.check import check as check_folder
        from data_prep.parallel import n_cores
        from data_prep.store.manifest import MANIFEST

        if (folder / MANIFEST).is_file():
            from data_prep.store.open import check_store

            typer.echo(printable(check_store(folder)))
            return
        report = check_folder(folder, workers or n_cores(), bar, read_options(fs, unit, leads, follow_links))
    typer.echo(printable_lines(report.render()))
    raise typer.Exit(0 if report.is_sound else 3)
