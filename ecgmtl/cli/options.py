"""Command-line options that say what files do not: one definition for all commands that read ECG files."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from data_prep.readers import ReadOptions

Fs = Annotated[float | None, typer.Option("--fs", help="Sampling rate in hertz, where files do not state it.")]
Unit = Annotated[
    str | None,
    typer.Option(help="Unit of the values, whatever files say: mV, uV, V; none where the voltage was lost."),
]
Leads = Annotated[
    str | None,
    typer.Option(
        metavar="LEADS",
        help="Names of the columns in their order, where files do not state them: I,II,III,... "
        "Or which lead a column of a file is, where its name does not tell: foo=V1,bar=V2.",
    ),
]

FollowLinks = Annotated[
    bool,
    typer.Option("--follow-links", help="Read samples behind links out of their folder (git-annex, DataLad)."),
]


def read_options(fs: float | None, unit: str | None, leads: str | None, follow_links: bool = False) -> "ReadOptions":
    """Return the options as the readers take them; raise BadParameter for a value that cannot be meant."""
    from data_prep.readers import ReadOptions

    names = None if leads is None else tuple(name.strip() for name in leads.split(","))
    try:
        return ReadOptions(fs=fs, unit=unit, leads=names, follow_links=follow_links)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
