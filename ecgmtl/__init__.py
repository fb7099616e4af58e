"""Multi-task learning on 12-lead ECGs: one network reconstructs the waveform and predicts diagnoses.

Read an ECG of any format, look at it, and predict with the model of a run (`ecgmtl.load()` loads the bundled model):

>>> import ecgmtl
>>> record = ecgmtl.read("recordings/r0.hea")
>>> record.fs, record.leads[:3], record.signal.shape
(100.0, ('I', 'II', 'III'), (1000, 12))
>>> figure = record.plot()
>>> model = ecgmtl.load("runs/mine")
>>> model.label_names
('CD', 'HYP', 'MI', 'NORM', 'STTC')
>>> table = model.predict(["recordings", record])
>>> table[["path", "status"]]
                path status
0  recordings/r0.hea     ok
1  recordings/r1.hea     ok
2                 r0     ok
>>> [column for column in table if column.startswith("calibrated_")]
['calibrated_CD', 'calibrated_HYP', 'calibrated_MI', 'calibrated_NORM', 'calibrated_STTC']

A model with a decoder reconstructs leads that a record lacks, and marks them in their names:

>>> model.reconstruct(record, from_leads="I,II,V2").leads[6:9]
('V1 reconstructed', 'V2', 'V3 reconstructed')

`Config` holds all settings of a run:

>>> ecgmtl.Config(seed=1).seed
1

`import ecgmtl` alone imports nothing else. Each of the names is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ecgmtl.config.run import Config
    from ecgmtl.inference.arrays import from_array
    from ecgmtl.inference.trained import load, read

__version__ = "0.1.0"
__all__ = ["Config", "__version__", "from_array", "load", "read"]

LAZY = {
    "Config": ("ecgmtl.config.run", "Config"),
    "from_array": ("ecgmtl.inference.arrays", "from_array"),
    "load": ("ecgmtl.inference.trained", "load"),
    "read": ("ecgmtl.inference.trained", "read"),
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
