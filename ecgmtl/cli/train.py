"""`ecgmtl train`: train a new run or resume one, on a prepared folder or on synthetic ECGs."""

import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecgmtl.cli.options import Overrides, local, local_input
from ecgmtl.cli.terminal import progress_bar, spoken_errors
from ecgmtl.run_files import is_run

if TYPE_CHECKING:
    from ecgmtl.config.run import Config

SYNTHETIC = Path("data/synthetic")
N_SYNTHETIC = 1500


def train(
    config: Annotated[
        Path | None,
        typer.Option(
            callback=local_input,
            help="Config of the run: a YAML file, or the name of a shipped config (`ecgmtl show configs` lists them). "
            "Default: ptbxl with --data, and quick, a small demonstration, without.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            callback=local_input,
            help="Prepared folder, as written by `ecgmtl data prepare`. Default: built-in synthetic ECGs.",
            show_default=False,
        ),
    ] = None,
    stage: Annotated[
        str | None, typer.Option(help="Stop after this stage. Default: train all stages.", show_default=False)
    ] = None,
    overrides: Overrides = None,
    out: Annotated[
        Path | None,
        typer.Option(
            callback=local,
            help="Folder of the run. Default: runs/NAME-TIME.",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(callback=local_input, help="Resume the interrupted run in this folder, with its own settings."),
    ] = None,
    threads: Annotated[int, typer.Option(min=0, help="Processor threads; 0 uses all.")] = 0,
    track: Annotated[bool, typer.Option(help="Log the run to MLflow.")] = True,
    register: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Register the classifier in MLflow under this name, with the alias champion. Its URI is then "
            "models:/NAME@champion.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Train a model through the stages of a config.

    Without any option, train a demonstration model on synthetic ECGs, which takes minutes.

    Stages are, for example, pretraining, joint training, and joint training with a decaying reconstruction weight.
    Finished stages with the same settings, data and code are loaded from their checkpoints. An interrupted run resumes
    from its last complete epoch.

    To train in several processes, start them with torchrun: torchrun --nproc-per-node 2 -m ecgmtl train …

    Example: ecgmtl train --config ptbxl --data data/ptbxl --out runs/mine

    Example: ecgmtl train --config quick --set seed=1 --set stages.0.epochs=2
    """
    if resume is not None and (config or overrides or out or data):
        raise typer.BadParameter(
            "a resumed run has its own settings and data; leave out --config, --set, --data and --out"
        )
    if register is not None and not track:
        raise typer.BadParameter("--register needs MLflow; leave out --no-track")
    folders: list[Path] = []

    def opened(folder: Path) -> None:
        folders.append(folder)
        if is_first():
            typer.echo(f"run: {folder}")

    def on_interrupt() -> str:
        is_kept = folders and is_run(folders[0])
        return f"stopped; resume with: ecgmtl train --resume {folders[0]}" if is_kept else "stopped."

    with spoken_errors(on_interrupt):
        from ecgmtl.cli.progress import stage_progress
        from ecgmtl.ranks import is_first
        from ecgmtl.tracking.models import require_model_name
        from ecgmtl.training.folder import RunFolder
        from ecgmtl.training.session import Display, Session, start_training

        if register is not None:
            require_model_name(register)
        settings = RunFolder.reopen(resume) if resume else settings_of(config, tuple(overrides or ()), data)
        session = Session(stage, threads, track, register)
        display = Display(opened, stage_progress, partial(typer.echo, err=True))
        model = start_training(settings, data or synthetic_store, out, session, display)
        if not is_first():
            return
    typer.echo(f"model: {model}")
    run = shlex.quote(str(model.parent))
    store = shlex.quote(str(data or RunFolder.reopen(model.parent).data))
    evaluate, predict = f"evaluate {run} --data {store}", f"predict {run} FILES --out predictions.csv"
    typer.echo(f"next: ecgmtl {evaluate}, ecgmtl {predict}, ecgmtl ui")


def synthetic_store(config: "Config") -> Path:
    """Return the prepared folder of built-in synthetic ECGs, made on the first call."""
    from data_prep.sources.ptbxl import DATABASE
    from data_prep.store.prepare import prepare
    from data_prep.synthetic.folder import write_ptbxl

    typer.echo(
        "No --data: training on built-in synthetic ECGs, which show that everything works but nothing about patients. "
        "For PTB-XL: ecgmtl data prepare PTBXL_FOLDER data/ptbxl && ecgmtl train --config ptbxl --data data/ptbxl"
    )
    source = SYNTHETIC / "records"
    if not (source / DATABASE).is_file():
        with progress_bar("synthesizing") as bar:
            write_ptbxl(source, N_SYNTHETIC, seed=0, progress=bar)
    store = SYNTHETIC / "prepared"
    with progress_bar("preparing") as bar:
        prepare(source, store, config.preprocess, "superdiagnostic", workers=1, progress=bar)
    return store


def settings_of(path: Path | None, overrides: tuple[str, ...], data: Path | None) -> "Config":
    """Return the named config; without a name, the recipe for real records or the demonstration."""
    from ecgmtl.config.run import load_config
    from ecgmtl.config.shipped import find_config

    if path is not None:
        file = find_config(path)
        if file != path:
            typer.echo(f"config: {file}")
        return load_config(file, overrides)
    return load_config(None, overrides) if data is None else recipe_for(data, overrides)


def recipe_for(data: Path, overrides: tuple[str, ...]) -> "Config":
    """Return the shipped recipe, without the auxiliary label sets that this store lacks, and say so."""
    from data_prep.store.open import open_store
    from ecgmtl.config.shipped import RECIPE, load_recipe

    config, dropped = load_recipe(open_store(data).label_sets, overrides)
    without = f", without the label set {' and '.join(dropped)}, which {data} does not have" if dropped else ""
    typer.echo(
        f"No --config: training the shipped recipe '{RECIPE}'{without}. --config NAME chooses another; "
        f"'ecgmtl show configs' lists them."
    )
    return config
