from pathlib import Path

import numpy as np

from ecgmtl.tracking.tracker import Tracker, open_tracker
from tests.tracked import NOTHING


def test_both_trackers_have_the_same_interface(store):
    off = open_tracker("ecgmtl", enabled=False)
    assert isinstance(off, Tracker)
    assert isinstance(open_tracker("ecgmtl"), Tracker)
    with off.run("quick", **NOTHING) as run_id:
        off.log_metrics({"a": 1.0}, 0)
        off.log_steps({"a": np.zeros(3)}, 0, 1)
        off.log_artifact(Path("nowhere"))
    assert run_id is None
    assert store.search_runs(["0"]) == []
