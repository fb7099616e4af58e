"""The documentation site: which pages it has. `make docs` builds it, with warnings as errors."""

import re
from pathlib import Path

import pytest
import yaml
from page import filled
from scale import storage, table

ROOT = Path(__file__).parents[2]
PAGES = sorted(page.name for page in (ROOT / "docs").glob("*.md"))


def leaves(tree):
    """Return the pages of a navigation."""
    if isinstance(tree, str):
        return [tree]
    return [page for part in (tree.values() if isinstance(tree, dict) else tree) for page in leaves(part)]


def test_every_page_is_in_the_navigation_and_on_the_first_page():
    nav = leaves(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert sorted(name for name in nav if "/" not in name) == PAGES
    listed = re.findall(r"\]\(([\w-]+\.md)\)", (ROOT / "docs/index.md").read_text())
    assert sorted([*listed, "index.md"]) == PAGES


def test_the_table_of_large_numbers_is_what_its_program_computes():
    page = (ROOT / "docs/scale.md").read_text()
    assert filled(page, "scale", table()) == page
    assert (storage(120_000 * 10**6), storage(24_000 * 10**9), storage(312)) == ("120 GB", "24 TB", "312 bytes")


def test_the_reference_names_modules_that_there_are():
    pytest.importorskip("mkdocs", reason="mkdocs is not installed")
    from docs.make.site_hooks import API

    paths = [ROOT / module.replace(".", "/") for _, modules in API.values() for module in modules.split()]
    assert [path for path in paths if not path.with_suffix(".py").exists() and not path.is_dir()] == []
