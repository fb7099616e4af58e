"""`ecgmtl show`: a config with all defaults, or the settings, labels and sizes of a checkpoint, as YAML."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecgmtl.cli.options import Overrides, local_input
from ecgmtl.cli.terminal import spoken_errors

if TYPE_CHECKING:
    from ecgmtl.metrics.calibration import Calibration


def show(
    source: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|CONFIG|configs|defaults",
            help="Model (as for `ecgmtl predict`), or config (a YAML file or a shipped name). Pass `configs` to list "
            "the shipped configs, or `defaults` to print the built-in one.",
        ),
    ],
    overrides: Overrides = None,
) -> None:
    """Print a config with all its defaults, or describe a model.

    The `provenance` of a model says where it came from: the command and the commit that trained it, the versions of the
    packages that were used, and the SHA-256 of the prepared data and of the code. Exported models have it, too.

    Example: ecgmtl show configs

    Example: ecgmtl show ptbxl --set seed=1 > mine.yaml
    """
    with spoken_errors():
        typer.echo(describe(source, tuple(overrides or ())))


def describe(source: str, overrides: tuple[str, ...] = ()) -> str:
    """Return a config, the built-in `defaults` or the description of a checkpoint as YAML; or list the `configs`.

    Raises:
        typer.BadParameter: there are overrides, and `source` is not a config; or it is the address of a remote place.
    """
    local_input(Path(source))
    from ecgmtl.config.shipped import describe_shipped, find_config

    if source == "configs":
        refuse_overrides(overrides, "`configs` lists the shipped ones")
        return describe_shipped()
    from ecgmtl.inference.models import find_model, is_model

    path = Path(source)
    if is_model(source) or (source != "defaults" and cannot_be_config(path)):
        refuse_overrides(overrides, f"{source} is not a config")
        return describe_model(find_model(source) if is_model(source) else source)

    import yaml

    from ecgmtl.config.run import load_config

    config = load_config(None if source == "defaults" else find_config(path), overrides)
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def refuse_overrides(overrides: tuple[str, ...], named: str) -> None:
    """Raise typer.BadParameter if there are overrides where no config is `named`."""
    if overrides:
        raise typer.BadParameter(
            f"--set {overrides[0]}: changes a setting of a config, and {named}; name a config, or leave out --set."
        )


def cannot_be_config(path: Path) -> bool:
    """Return whether a path is not a config, which is a YAML file or the name of a shipped one."""
    from ecgmtl.config.shipped import config_names

    if path.is_dir():
        return str(path) not in config_names()
    return path.suffix not in (".yaml", ".yml") and (path.is_file() or path.suffix != "")


def describe_model(model: str) -> str:
    """Return what a model holds: of a checkpoint or a run also the sizes and the config, of an export also the card."""
    from ecgmtl.inference.models import is_export

    return describe_export(model) if is_export(model) else describe_checkpoint(Path(model))


def describe_export(model: str) -> str:
    """Return the metadata of an exported model, followed by its model card."""
    from dataclasses import asdict

    import yaml

    from ecgmtl.inference.predictor import load_predictor

    metadata = load_predictor(model).metadata
    tree = {
        "label_set": metadata.label_set,
        "labels": describe_labels(metadata.label_names, metadata.calibration),
        "score": metadata.score,
        "preprocess": asdict(metadata.preprocess),
        "provenance": metadata.provenance,
    }
    return yaml.safe_dump(tree, sort_keys=False) + (f"\n{metadata.card}" if metadata.card else "")


def describe_labels(names: tuple[str, ...], calibration: "Calibration") -> dict[str, dict[str, float]]:
    """Return the decision threshold and the Platt scaling of each label."""
    values = zip(names, calibration.thresholds, calibration.slope, calibration.intercept, strict=True)
    return {
        name: {"threshold": round(threshold, 4), "slope": round(slope, 4), "intercept": round(intercept, 4)}
        for name, threshold, slope, intercept in values
    }


def describe_checkpoint(path: Path) -> str:
    """Return what a checkpoint, or the final model of a run, holds."""
    import yaml

    from ecgmtl import checkpoint

    path = checkpoint.model_file(path)
    stored = checkpoint.load(path)
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in stored.model.named_children()}
    tree = {
        "label_set": stored.label_set,
        "labels": describe_labels(stored.label_names, stored.calibration),
        "parameters": {name: size for name, size in sizes.items() if size},
        "file_megabytes": round(path.stat().st_size / 1e6, 2),
        "provenance": stored.provenance,
        "config": stored.config.model_dump(mode="json"),
    }
    return yaml.safe_dump(tree, sort_keys=False)
