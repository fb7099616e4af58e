"""Settings, label names, thresholds and sizes of a checkpoint or a config, as text."""

from pathlib import Path

import yaml

from ecgmtl import checkpoint
from ecgmtl.config import load_config


def describe(source: str, overrides: tuple[str, ...] = ()) -> str:
    """The YAML of a config (`defaults` for the built-in one), or of what a checkpoint holds."""
    if source != "defaults" and Path(source).suffix not in (".yaml", ".yml"):
        return describe_checkpoint(Path(source))
    path = None if source == "defaults" else Path(source)
    config = load_config(path, overrides)
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


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
