"""`ecgmtl reconstruct`: write a record whose missing leads are reconstructed by a model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecgmtl.cli.options import FollowLinks, Fs, Leads, Unit, lead_set, local, read_options
from ecgmtl.cli.terminal import spoken_errors

if TYPE_CHECKING:
    from data_prep.lead_set import LeadSet
    from data_prep.readers import ReadOptions


def reconstruct(
    model: Annotated[
        str,
        typer.Argument(
            help="Run (its folder, or its name in runs/), or the checkpoint (.safetensors) that it wrote. Exported "
            "models have no decoder."
        ),
    ],
    file: Annotated[
        str,
        typer.Argument(
            help="One ECG, in any format of docs/own-data.md, or its remote address: s3://bucket/file.hea, "
            "https://host/file.hea (docs/cluster.md). It needs only the leads of --from."
        ),
    ],
    start: Annotated[
        str,
        typer.Option(
            "--from", metavar="LEADS", help="Leads to reconstruct from, for example I,II,V2.", show_default=False
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            callback=local,
            help="WFDB record to write: a name without a suffix.",
            show_default=False,
        ),
    ],
    fs: Fs = None,
    unit: Unit = None,
    leads: Leads = None,
    follow_links: FollowLinks = False,
) -> None:
    """Reconstruct the leads that a record lacks.

    All twelve leads are written as a WFDB record. The leads named by --from are copied unchanged. Two limb leads
    determine the other four exactly. All other leads are reconstructed by the model and marked in their names, as `V1
    reconstructed`. Leads of the file that --from does not name are not used.

    Example: ecgmtl reconstruct runs/mine record.hea --from I,II,V2 --out filled
    """
    with spoken_errors():
        from ecgmtl.inference.models import find_model

        write_reconstructed(
            Path(find_model(model)), file, lead_set(start), out, read_options(fs, unit, leads, follow_links)
        )


def write_reconstructed(model: Path, file: str, leads: "LeadSet", out: Path, options: "ReadOptions") -> None:
    """Write a record with all 12 leads from some of a file's, and report the origin of each lead.

    Raises:
        ReconstructError: the model has no decoder, or `out` cannot be written.
        RecordError, CheckpointError: `file` is not one record, or the file or the model cannot be read.
    """
    from data_prep.readers import find_record, read_record
    from ecgmtl import checkpoint
    from ecgmtl.inference.models import is_export
    from ecgmtl.inference.reconstruct import ReconstructError, new_header, reconstruct, write_reconstruction

    model = checkpoint.model_file(model)
    if is_export(str(model)):
        raise ReconstructError(
            f"{model}: has no decoder; only a checkpoint (.safetensors, or a run's folder) can reconstruct leads."
        )
    header, path = new_header(out), find_record(file)
    results = reconstruct(checkpoint.load(model), read_record(path, options), leads)
    write_reconstruction(results, header, model)
    for remark in results.remarks:
        typer.echo(f"{path}: {remark.sentence}", err=True)
    derived = f"; {', '.join(leads.derived)} derived" if leads.derived else ""
    typer.echo(f"{header}: {leads} measured{derived}; {', '.join(leads.reconstructed)} reconstructed")
