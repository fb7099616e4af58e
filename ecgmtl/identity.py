"""Digests that identify data, and the code that ran on it."""

import ast
import hashlib
from functools import cache
from pathlib import Path

import data_prep
import ecgmtl


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
