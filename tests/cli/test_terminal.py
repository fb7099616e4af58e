"""What the command line shows of an error."""

import errno
import os
import re
from importlib import import_module
from pathlib import Path

import pytest
import typer

from data_prep import errors
from data_prep.errors import UserError
from ecgmtl.cli.terminal import spoken_errors

ROOT = Path(errors.__file__).parents[1]
TREE = re.findall(r"[├└]── (\w+) +([\w.]+)", errors.__doc__)


def defined_errors():
    """Return the name and module of every error class that the source of both packages defines."""
    for path in sorted([*ROOT.glob("data_prep/**/*.py"), *ROOT.glob("ecgmtl/**/*.py")]):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        yield from ((name, module) for name in re.findall(r"^class (\w+Error)\b", path.read_text(), re.MULTILINE))


def test_the_tree_of_errors_names_every_one():
    assert sorted(TREE) == sorted(set(defined_errors()) - {("UserError", "data_prep.errors")})


@pytest.mark.parametrize(("name", "module"), TREE)
def test_an_error_that_the_user_can_correct_is_a_sentence(name, module, capsys):
    error = getattr(import_module(module), name)
    assert issubclass(error, UserError)
    with pytest.raises(typer.Exit) as ended, spoken_errors():
        raise error(f"x.hea: {name}\x1b[2J, take another.")
    assert ended.value.exit_code == 1
    assert capsys.readouterr().err == f"x.hea: {name}\\x1b[2J, take another.\n"


def test_a_full_disk_is_a_sentence_and_another_error_keeps_its_traceback(capsys):
    with pytest.raises(typer.Exit), spoken_errors(lambda: "stopped; type 'again'."):
        raise OSError(errno.ENOSPC, "No space left on device", "model")
    said = "model: the disk is full. Files that were whole are kept. Free some space; type 'again'\n"
    assert capsys.readouterr().err == said
    with pytest.raises(typer.Exit), spoken_errors(lambda: "stopped; type 'again'."):
        raise UserError("model: cannot be written.") from OSError(errno.ENOSPC, "No space left on device", "model")
    assert capsys.readouterr().err == said
    with pytest.raises(typer.Exit), spoken_errors():
        raise UserError("store: cannot be written; it takes 3 MB.") from OSError(errno.ENOSPC, "No space left")
    assert capsys.readouterr().err == "store: cannot be written; it takes 3 MB.\n"
    with pytest.raises(typer.Exit), spoken_errors(lambda: "stopped; type 'again'."):
        raise OSError(errno.EFBIG, "File too large", "model")
    assert capsys.readouterr().err.startswith("model: the file is larger than `ulimit -f` or the file system allows. ")
    with pytest.raises(typer.Exit), spoken_errors():
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "runs/a/state.pt")
    assert "runs/a/state.pt: is not there. Was its folder removed or moved" in capsys.readouterr().err
    with pytest.raises(typer.Exit), spoken_errors():
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", ".r.html.7.partial", None, "r.html")
    assert capsys.readouterr().err.startswith("r.html: is not there. ")
    for bug in (OSError(errno.EACCES, "denied"), OSError(errno.EINVAL, "Invalid argument", "model"), KeyError("x")):
        with pytest.raises(type(bug)), spoken_errors():
            raise bug
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.EIO, errno.EMFILE])
def test_a_file_that_the_system_refuses_is_a_sentence(number, capsys):
    with pytest.raises(typer.Exit) as ended, spoken_errors():
        raise OSError(number, os.strerror(number), "p.csv.partial/_settings.json")
    assert ended.value.exit_code == 1
    said = capsys.readouterr().err
    assert said.startswith(f"p.csv.partial/_settings.json: {os.strerror(number)}. ")
    assert said.endswith(", and run the same command again.\n")
