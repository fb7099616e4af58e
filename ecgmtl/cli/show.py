"""`ecgmtl show`: a config with all defaults, or the settings, labels and sizes of a checkpoint, as YAML."""

from pathlib import Path
from typing import Annotated

import typer

from ecgmtl.cli.options import Overrides
from ecgmtl.cli.terminal import spoken_errors


def show(
    source: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|CONFIG|configs|defaults",
            help="Checkpoint, folder of a run, or config (a YAML file or a shipped name). Pass `configs` to list the "
            "shipped configs, or `defaults` to print the built-in one.",
        ),
    ],
    overrides: Overrides = None,
) -> None:
    """Print a config with all defaults filled in, or describe a checkpoint.

    Example: ecgmtl show configs

    Example: ecgmtl show ptbxl --set seed=1 > mine.yaml
    """
    with spoken_errors():
        typer.echo(describe(source, tuple(overrides or ())))


def describe(source: str, overrides: tuple[str, ...] = ()) -> str:
    """Return a config, the built-in `defaults` or the description of a checkpoint as YAML; or list the `configs`."""
    from ecgmtl.config.shipped import describe_shipped, find_config

    if source == "configs":
        return describe_shipped()
    path = Path(source)
    if source != "defaults" and is_model(path):
        return describe_checkpoint(path)

    import yaml

    from ecgmtl.config.run import load_config

    config = load_config(None if source == "defaults" else find_config(path), overrides)
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def is_model(path: Path) -> bool:
    """Return whether the path can only be a model: a config is a YAML file or the name of a shipped one."""
    from ecgmtl.config.shipped import config_names

    if path.is_dir():
        return (path / "run.json").is_file() or str(path) not in config_names()
    return path.suffix not in (".yaml", ".yml") and (path.is_file() or path.suffix != "")


def describe_checkpoint(path: Path) -> str:
    """Return what a checkpoint, or the final model of a run, holds."""
    import yaml

    from ecgmtl import checkpoint

    path = checkpoint.model_file(path)
    stored = checkpoint.load(path)
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in stored.model.named_children()}
    labels = {
        name: {"threshold": round(threshold, 4), "slope": round(slope, 4), "intercept": round(intercept, 4)}
        for name, threshold, slope, intercept in zip(
            stored.label_names,
            stored.calibration.thresholds,
            stored.calibration.slope,
            stored.calibration.intercept,
            strict=True,
        )
    }
    tree = {
        "label_set": stored.label_set,
        "labels": labels,
        "parameters": {name: size for name, size in sizes.items() if size},
        "file_megabytes": round(path.stat().st_size / 1e6, 2),
        "provenance": stored.provenance,
        "config": stored.config.model_dump(mode="json"),
    }
    return yaml.safe_dump(tree, sort_keys=False)
