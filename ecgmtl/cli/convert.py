"""`ecgmtl convert`: write ECG files of any format as WFDB records."""

from pathlib import Path
from typing import Annotated

import typer

from data_prep.safe_text import printable
from data_prep.words import counted
from ecgmtl.cli.options import FollowLinks, Fs, Leads, Unit, local, local_input, read_options
from ecgmtl.cli.terminal import spoken_errors


def convert(
    source: Annotated[
        Path,
        typer.Argument(
            callback=local_input,
            help="ECG file of any format that `ecgmtl predict` reads, a file of many ECGs (HDF5, .npy or .npz), or a "
            "folder of files.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Argument(
            callback=local,
            help="WFDB record to write: a name without a suffix. A folder if SOURCE is one or holds many ECGs.",
        ),
    ],
    fs: Fs = None,
    unit: Unit = None,
    leads: Leads = None,
    follow_links: FollowLinks = False,
) -> None:
    """Write ECG files of any format as WFDB records.

    A record holds the standard leads in mV, at the file's own sampling rate. Samples are rounded to 1 µV and otherwise
    unchanged; missing ones stay missing. Nothing else is taken from a file, so no patient's name, age or comment is
    written. Records are named after the files, so rename files that are named after patients. Each ECG in a file of
    many ECGs becomes a record that is named after its id, or numbered from 0 if there are no ids.

    Existing records are left unchanged: run the same command again to continue.

    Example: ecgmtl convert recordings/ wfdb/

    Exit codes: 0, every record was written. 1, none was. 2, the command line was wrong. 3, some failed.
    """
    from data_prep.convert import Converted
    from data_prep.convert import convert as convert_all
    from data_prep.readers import OtherFile, format_names, summarize

    written = existed = failed = 0
    others: list[OtherFile] = []
    with spoken_errors():
        for result in convert_all(source, out, read_options(fs, unit, leads, follow_links)):
            if isinstance(result, Converted):
                existed += result.existed
                failed += result.header is None
                written += result.header is not None and not result.existed
                for line in (result.failure, *result.warnings):
                    if line:
                        typer.echo(printable(f"{result.path}: {line}"), err=True)
            else:
                others.append(result)
    if not written + existed + failed:
        typer.echo(printable(f"{source}: no ECG file found; the formats are {format_names()}."), err=True)
    there = f", {existed} there already" if existed else ""
    typer.echo(f"{counted(written, 'record')} written{there}, {failed} failed; {printable(str(out))}", err=True)
    for line in summarize(others):
        typer.echo(line, err=True)
    raise typer.Exit(1 if not written + existed else 3 if failed else 0)
