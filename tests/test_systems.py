"""What a system without POSIX lacks is not needed: all is imported, locked and written without it."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
SCRIPT = """
import os, pkgutil, signal, sys
from importlib import import_module
import filelock, matplotlib, psutil, torch  # they know about systems themselves

for name in ("fcntl", "pwd", "resource", "grp"):
    sys.modules[name] = None
for module, name in ((os, "getuid"), (os, "O_DIRECTORY"), (os, "killpg"), (signal, "SIGHUP"), (signal, "SIGKILL")):
    delattr(module, name)
import data_prep, ecgmtl
for package in (data_prep, ecgmtl):
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not found.name.endswith("__main__"):  # importing that one runs the command
            import_module(found.name)

from pathlib import Path
from data_prep.files import write_text
from data_prep.lock import locked
from ecgmtl.cli.terminal import spoken_errors
with locked(Path()), spoken_errors():
    write_text(Path("file"), "text")
"""


def test_all_modules_can_do_without_posix(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "file").read_text() == "text"
