"""Arguments and options that several commands share, each defined once."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer

if TYPE_CHECKING:
    from data_prep.lead_set import LeadSet
    from data_prep.parallel import Engine, OrderedEngine
    from data_prep.readers import ReadOptions
    from data_prep.share import Share

    AnyEngine = TypeVar("AnyEngine", Engine, OrderedEngine)

ONLY_READ = "remote addresses can only be read; name a local path, and copy the result there."
"""Message where a command would write to a remote address."""
NOT_READ_HERE = (
    "only `predict`, `reconstruct` and `data prepare` read remote addresses, and only ECGs (docs/cluster.md); copy it "
    "here, and name a local path."
)
"""Message where a command would read anything but ECGs from a remote address."""


def refusing(answer: str) -> Callable[[Path | None], Path | None]:
    """Return a callback that returns a local path, and raises with this message for the address of a remote place.

    As a Path, an address has lost a slash, and would name a local folder.
    """

    def callback(path: Path | None) -> Path | None:
        if path is not None and is_address(path):
            raise typer.BadParameter(answer)
        return path

    return callback


def is_address(path: Path) -> bool:
    """Return whether a path was the address of a remote place, which has lost a slash as a Path."""
    from data_prep.places import PACKAGES

    return any(part.lower() in {f"{scheme}:" for scheme in PACKAGES} for part in path.parts[:1])


local, local_input = refusing(ONLY_READ), refusing(NOT_READ_HERE)

Checkpoint = Annotated[
    str, typer.Argument(help="Run (its folder, or its name in runs/), or the checkpoint (.safetensors) that it wrote.")
]
StorePath = Annotated[
    Path,
    typer.Option(
        "--data",
        callback=local_input,
        help="Prepared folder, as written by `ecgmtl data prepare`.",
        show_default=False,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one setting of the config, for example stages.0.epochs=3. Repeatable.",
    ),
]
Workers = Annotated[int, typer.Option(min=0, help="Number of processes. 0 means one for each CPU core.")]
EngineName = Annotated[
    Literal["local", "ray"],
    typer.Option(
        help="Where the --workers run: as processes on this machine, or as tasks of the Ray cluster at RAY_ADDRESS. If "
        "this variable is not set, a cluster is started on this machine."
    ),
]
Fs = Annotated[
    float | None,
    typer.Option(
        "--fs", help="Sampling rate in hertz, for files that state none or an impossible one, for example 500."
    ),
]
Unit = Annotated[
    str | None,
    typer.Option(
        help="Unit of the values: mV, uV, nV or V. It replaces the unit that files state. "
        "Pass `none` if the voltage scale is lost."
    ),
]
Leads = Annotated[
    str | None,
    typer.Option(
        metavar="LEADS",
        help="Lead names of the columns in their order, for files that do not state them, for example "
        "I,II,III,aVR,… To rename single columns instead, give name=lead pairs: foo=V1,bar=V2.",
    ),
]
FollowLinks = Annotated[
    bool,
    typer.Option(
        "--follow-links",
        help="Follow symbolic links to sample files outside the folder, as git-annex and DataLad create them.",
    ),
]


def read_options(fs: float | None, unit: str | None, leads: str | None, follow_links: bool = False) -> "ReadOptions":
    """Return the options as the readers take them.

    Raises:
        typer.BadParameter: a value is impossible.
    """
    from data_prep.readers import ReadOptions

    try:
        return ReadOptions.of_text(fs, unit, leads, follow_links)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def engine_of(name: EngineName, workers: int, here: "AnyEngine") -> tuple["AnyEngine", int]:
    """Return the function that runs pieces of work, the one for this machine or Ray's, and its number of workers."""
    if name == "ray":
        from data_prep.on_ray import in_order_on_ray

        return in_order_on_ray, workers
    from data_prep.parallel import n_cores

    return here, workers or n_cores()


def share_of(part: str) -> "Share":
    """Return the share that `--part` names.

    Raises:
        typer.BadParameter: it is not a share.
    """
    from data_prep.share import Share

    try:
        return Share.parse(part)
    except ValueError as error:
        raise typer.BadParameter(f"--part: {error}") from None


def lead_set(names: str) -> "LeadSet":
    """Return the leads that `--from` names.

    Raises:
        typer.BadParameter: a lead is unknown, or the leads cannot be reconstructed from.
    """
    from data_prep.lead_set import LeadSet

    try:
        return LeadSet.parse(names)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
