import os
import subprocess
import sys
from pathlib import Path

import pytest

from data_prep.lock import FolderInUseError, locked

HOLD = """
import sys, time
from pathlib import Path
from data_prep.lock import locked
with locked(Path(sys.argv[1])):
    print(1, flush=True)
    time.sleep(60)
"""


def test_a_folder_in_use_is_refused_with_the_process_that_uses_it_until_that_is_killed(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, env=environment) as holder:
        holder.stdout.readline()
        with (
            pytest.raises(FolderInUseError, match=f"{tmp_path} is in use by process {holder.pid} on "),
            locked(tmp_path),
        ):
            pass
        holder.kill()
    with locked(tmp_path), pytest.raises(FolderInUseError, match=f"process {os.getpid()} on "), locked(tmp_path):
        pass


def test_what_killed_processes_left_is_removed(tmp_path):
    (tmp_path / ".file.12.partial").touch()
    (tmp_path / "file").touch()
    with locked(tmp_path):
        assert {path.name for path in tmp_path.iterdir()} == {"file", ".lock"}


def test_a_folder_without_locks_is_written_to_all_the_same(tmp_path):
    (tmp_path / "file").touch()
    with locked(tmp_path / "file/folder"):
        pass
