"""The locks: a version within the bounds for every package that is needed, and the hashes of its files."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = ("requirements.lock", "requirements-cuda.lock")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")


def entries(name):
    """Return the packages of a lock by their canonical names, each with its version and the number of its hashes."""
    found, last = {}, ""
    for line in (ROOT / name).read_text().splitlines():
        if HASH.fullmatch(line):
            found[last][1] += 1
        elif not line.lstrip().startswith("#"):
            requirement = Requirement(line.removesuffix(" \\"))
            (pin,) = requirement.specifier
            assert pin.operator == "=="
            last = canonicalize_name(requirement.name)
            if requirement.marker is not None and not requirement.marker.evaluate():
                last += " elsewhere"
            assert last not in found
            found[last] = [pin.version, 0]
    return found


LOCKED = entries(LOCKS[0]) | entries(LOCKS[1])
EXTRAS = PROJECT["project"]["optional-dependencies"]
WANTED = [
    requirement
    for text in (*PROJECT["project"]["dependencies"], *PROJECT["build-system"]["requires"], *chain(*EXTRAS.values()))
    if (requirement := Requirement(text)).name != "ecgmtl"
]


@pytest.mark.parametrize("requirement", WANTED, ids=str)
def test_what_the_package_asks_for_is_locked_within_its_bounds(requirement):
    version, _ = LOCKED[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(version), version


def test_every_package_is_locked_with_hashes():
    assert [name for name, (_, n_hashes) in LOCKED.items() if not n_hashes] == []


def test_torch_and_cuda_are_locked_apart_from_all_others():
    first, second = map(entries, LOCKS)
    assert not first.keys() & second.keys()
    assert all(re.match(r"(cuda|nvidia)-|(torch|triton)$", name.removesuffix(" elsewhere")) for name in second)
    assert not any(name.startswith(("cuda-", "nvidia-")) for name in first)


def test_torch_is_locked_in_the_same_version_without_cuda():
    text = (ROOT / "requirements-cpu.lock").read_text()
    assert re.fullmatch(rf"torch=={re.escape(LOCKED['torch'][0])}\+cpu --hash=sha256:[0-9a-f]{{64}}\n", text)


def test_whatever_an_installed_package_needs_is_locked():
    """pip installs the lock without resolving it, so nothing may be missing."""
    waiting, seen, missing = list(WANTED), set(), []
    while waiting:
        requirement = waiting.pop()
        name, extras = canonicalize_name(requirement.name), tuple(sorted(requirement.extras))
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        if name not in LOCKED:
            missing.append(name)
            continue
        try:
            needed = requires(name) or []
        except PackageNotFoundError:
            continue  # an extra that is not installed here
        for text in needed:
            further = Requirement(text)
            if further.marker is None or any(further.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                waiting.append(further)
    assert missing == []
    assert len(seen) > 100
