"""Settings, label names, thresholds and sizes of a checkpoint or a config, as text."""

from pathlib import Path

import yaml

from ecgmtl import checkpoint
from ecgmtl.checkpoint import is_run, model_file
from ecgmtl.config.run import load_config
from ecgmtl.config.shipped import config_names, describe_shipped, find_config


def describe(source: str, overrides: tuple[str, ...] = ()) -> str:
    """Return the YAML of a config, of the built-in `defaults`, or of what a checkpoint holds; or list the `configs`."""
    if source == "configs":
        return describe_shipped()
    path = Path(source)
    if source != "defaults" and is_model(path):
        return describe_checkpoint(model_file(path))
    config = load_config(None if source == "defaults" else find_config(path), overrides)
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def is_model(path: Path) -> bool:
    """Whether the path can only be meant as a model: a config is YAML, or a name of a shipped one."""
    if path.is_dir():
        return is_run(path) or str(path) not in config_names()
    return path.suffix not in (".yaml", ".yml") and (path.is_file() or path.suffix != "")


def describe_checkpoint(path: Path) -> str:
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
