"""The face of the package: what `import ecgmtl` offers, and that it costs nothing."""

import doctest
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ecgmtl
from ecgmtl import checkpoint
from ecgmtl.run_files import MODEL


@pytest.fixture
def folder(stored, records, tmp_path, monkeypatch):
    """Working folder of the examples, with a run and two records."""
    run = tmp_path / "runs" / "mine"
    run.mkdir(parents=True)
    (run / "run.json").write_text("{}")
    checkpoint.save(run / MODEL, stored)
    (tmp_path / "recordings").mkdir()
    for name in ("r0.hea", "r0.dat", "r1.hea", "r1.dat"):
        shutil.copy(records / name, tmp_path / "recordings")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_examples_of_the_package_run(folder):
    outcome = doctest.testmod(ecgmtl, verbose=False)
    assert (outcome.failed, outcome.attempted) == (0, 11)


def test_the_examples_of_the_page_on_python_run(folder):
    page = Path(__file__).parents[1] / "docs" / "python.md"
    outcome = doctest.testfile(str(page), module_relative=False)
    assert (outcome.failed, outcome.attempted) == (0, 19)
    assert (folder / "r0.png").stat().st_size > 10_000


def test_importing_the_package_imports_no_dependency():
    code = (
        "import sys; before = set(sys.modules); import ecgmtl; "
        "new = {name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names); "
        "assert new == {'ecgmtl'}, new"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_training_begins_without_what_only_its_report_needs():
    code = (
        "import sys; import ecgmtl.cli.train, ecgmtl.training.session; "
        "late = {'matplotlib', 'mlflow', 'scipy', 'sklearn'} & set(sys.modules); assert not late, late"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_listed_and_can_be_imported():
    assert set(ecgmtl.__all__) <= set(dir(ecgmtl))
    assert all(hasattr(ecgmtl, name) for name in ecgmtl.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'ecgmtl' has no attribute 'fit'"):
        _ = ecgmtl.fit
