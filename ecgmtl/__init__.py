"""Multi-task learning on 12-lead ECGs: one network reconstructs the waveform and classifies the disease.

Predict from Python with the model of a run, or with any other model that `ecgmtl predict` takes:

>>> import ecgmtl
>>> model = ecgmtl.load("runs/mine")
>>> model.metadata.label_names
('CD', 'HYP', 'MI', 'NORM', 'STTC')
>>> for result in ecgmtl.predict(model, "recordings"):
...     print(result.path.name, list(result.calibrated))
r0.hea ['CD', 'HYP', 'MI', 'NORM', 'STTC']
r1.hea ['CD', 'HYP', 'MI', 'NORM', 'STTC']

Results are yielded while files are read: a `Prediction` for each record, a `Failure` for each record that cannot be
predicted, and an `OtherFile` for each other file in a folder. `Config` holds all settings of a run:

>>> ecgmtl.Config(seed=1).seed
1

`import ecgmtl` alone imports nothing else. Each of the names is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ecgmtl.config.run import Config
    from ecgmtl.inference.predict import predict
    from ecgmtl.inference.predictor import load_predictor as load

__version__ = "0.1.0"
__all__ = ["Config", "__version__", "load", "predict"]

LAZY = {
    "Config": ("ecgmtl.config.run", "Config"),
    "load": ("ecgmtl.inference.predictor", "load_predictor"),
    "predict": ("ecgmtl.inference.predict", "predict"),
}
"""Module and name of each object that is imported when it is first used."""


def __getattr__(name: str) -> Any:
    """Import an object of the package when it is first used."""
    if name not in LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = LAZY[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return [*globals(), *LAZY]
