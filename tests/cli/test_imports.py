"""What a command imports: nothing that it does not need."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys


class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "sklearn", "matplotlib", "mlflow"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NotInstalled())
from ecgmtl.cli import app

def run(*arguments):
    try:
        app([*arguments], standalone_mode=False)
    except SystemExit as ended:
        assert ended.code in (0, 3), (arguments, ended.code)

run("--version")
assert "pydantic" not in sys.modules
for command in ([], ["train"], ["predict"], ["compare"], ["data", "check"]):
    run(*command, "--help")
assert not {"numpy", "scipy", "rich"} & set(sys.modules)
run("predict", "n.npz")
unneeded = {"scipy", "pandas", "pyarrow", "rich", "defusedxml", "pydicom", "pyedflib", "psutil"} & set(sys.modules)
assert not unneeded, unneeded
run("show", "configs")
run("data", "check", "records")
run("predict", "c.onnx", "records/a.csv", "--out", "p.csv", "--report", "r.html")
print(open("p.csv").read(), end="")
"""


def test_commands_that_need_no_torch_work_without_it(exported, tmp_path, rng):
    import numpy as np

    from tests.folders import ecg

    (tmp_path / "c.onnx").symlink_to(exported["onnx"].path)
    (tmp_path / "records").mkdir()
    names = "I,II,III,aVR,aVL,aVF,V1,V2,V3,V4,V5,V6"
    header = ",".join(f"{name} (mV)" for name in names.split(","))
    rows = ecg(rng, 5000, 500)
    np.savetxt(tmp_path / "records/a.csv", rows, "%.4f", ",", header=f"# fs=500\n{header}", comments="")
    np.savez(tmp_path / "n.npz", signal=rows, fs=500, leads=names.split(","), unit="mV")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("records/a.csv,ok,,")
    assert "records/a.csv" in (tmp_path / "r.html").read_text()


def test_a_checkpoint_predicts_without_scipy_pandas_and_scikit_learn(stored, records, tmp_path):
    from ecgmtl import checkpoint

    checkpoint.save(tmp_path / "model.safetensors", stored)
    script = (
        "import sys; from ecgmtl.cli import app; app(sys.argv[1:], standalone_mode=False); "
        "print({'scipy', 'pandas', 'sklearn', 'matplotlib', 'mlflow', 'rich'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", script, "predict", "model.safetensors", str(records / "r0.hea")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "set()", done.stderr
