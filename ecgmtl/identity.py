"""Digests that identify data, and the code that ran on it; the commit, the command and the versions of a process."""

import ast
import hashlib
import platform
import shlex
import shutil
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import data_prep
import ecgmtl

NUMERIC = ("torch", "numpy", "scipy", "scikit-learn", "pandas")
"""Packages whose version may change the weights of a model."""
LONGEST_COMMAND = 1000
"""Length in characters up to which a command is kept."""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@cache
def code_digest() -> str:
    """Return the digest of the code of both packages, so that a result is never taken for another code's.

    The digest is computed once a process: files edited while it runs are not what it runs.
    """
    digest = hashlib.sha256()
    for package in (data_prep, ecgmtl):
        digest.update(package_digest(Path(str(package.__file__)).parent).encode())
    return digest.hexdigest()


def package_digest(root: Path) -> str:
    """Return the digest of a package's modules: their names and what they execute."""
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + executed(path.read_bytes()))
    return digest.hexdigest()


def executed(source: bytes) -> bytes:
    """Return the syntax tree of a module without what cannot change a result: comments, layout and docstrings.

    A string that stands alone as a statement is a docstring, of attributes too.
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            node.body = [statement for statement in node.body if not is_docstring(statement)]
    return ast.dump(tree).encode(errors="surrogatepass")


def is_docstring(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def words() -> list[str]:
    """Return the words of this process's command line, beginning with the program that one would type."""
    program = Path(sys.argv[0]).name
    return ["ecgmtl" if program == "__main__.py" else program, *sys.argv[1:]]


def command() -> str:
    """Return the command line of this process as one would type it."""
    return shlex.join(words())[:LONGEST_COMMAND]


@cache
def commit() -> str:
    """Return the commit of the code that runs, followed by `with changes` if it was edited since.

    It is empty where the code is not a checkout, such as an installed package, or git is missing.
    """
    home, git = Path(__file__).parent.parent, shutil.which("git")
    if git is None or not (home / ".git").exists():
        return ""

    def ask(*arguments: str) -> str:
        command = [git, "--no-optional-locks", "-C", str(home), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603

    head = ask("rev-parse", "HEAD")
    return head if len(head) < 40 or not ask("status", "--porcelain", "--", "*.py") else f"{head} with changes"


def versions() -> str:
    """Return the versions of Python and of the packages that compute."""
    names = {"python": platform.python_version()}
    for package in NUMERIC:
        try:
            names[package] = version(package)
        except PackageNotFoundError:
            continue
    return ", ".join(f"{name} {number}" for name, number in names.items())


def changed_versions(before: str, now: str) -> str:
    """Return how `versions` differ, as `torch 2.6.0 instead of 2.7.0`. Empty where they do not."""
    was, is_now = (dict(part.split(" ", 1) for part in text.split(", ") if " " in part) for text in (before, now))
    differ = [name for name in {**was, **is_now} if was.get(name) != is_now.get(name)]
    return ", ".join(f"{name} {was.get(name, 'none')} instead of {is_now.get(name, 'none')}" for name in differ)
