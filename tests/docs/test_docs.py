"""The pages under docs say what is so: all methods are there, what is written in YAML works, what is named exists."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import get_args

import pytest
import yaml

from ecgmtl.comparison.claims_file import SHIPPED, read_claims
from ecgmtl.config.run import Config, parse_config
from ecgmtl.config.stage import Stage
from ecgmtl.data.masking import MaskingSettings
from ecgmtl.model.sharing import SharingSettings
from ecgmtl.optimization.gradient_rules import GradientRuleSettings
from ecgmtl.optimization.weighting import WeightingSettings
from ecgmtl.optimization.weighting.bandit import BanditSettings
from ecgmtl.optimization.weighting.decay import DecaySettings
from ecgmtl.optimization.weighting.uncertainty import UncertaintySettings
from ecgmtl.tasks import TASKS, ReconstructionSettings

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
METHODS = ROOT / "docs/methods.md"
JOINT = {
    "name": "joint",
    "trains": ["encoder", "decoder", "classifier"],
    "losses": ["reconstruction", "classification"],
    "epochs": 1,
}

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def rows(page):
    """Cells of the rows of all tables whose first column is called YAML."""
    inside = False
    for line in page.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split(" | ")] if line.startswith("|") else []
        inside = bool(cells) and (inside or cells[0] == "YAML")
        if inside and cells[0].startswith("`"):
            yield cells


def snippets():
    """What stands under YAML, a tree a row."""
    return [
        {key: value for code in re.findall(r"`([^`]+)`", cells[0]) for key, value in yaml.safe_load(code).items()}
        for cells in rows(METHODS)
    ]


def settings_of(tree):
    """The settings of a config that has these of the config, and these of its only stage."""
    stage = JOINT | {key: value for key, value in tree.items() if key in Stage.model_fields}
    whole = {key: value for key, value in tree.items() if key not in Stage.model_fields}
    return parse_config({"stages": [stage], **whole}, "docs")


def choices(settings, field):
    return get_args(settings.model_fields[field].annotation)


def kinds(union):
    return [kind.model_fields["kind"].default for kind in get_args(get_args(union)[0])]


FAMILIES = {
    ("weighting", "kind"): kinds(WeightingSettings),
    ("weighting", "shape"): choices(DecaySettings, "shape"),
    ("weighting", "control"): choices(BanditSettings, "control"),
    ("weighting", "regularizer"): choices(UncertaintySettings, "regularizer"),
    ("gradients", "kind"): kinds(GradientRuleSettings),
    ("sharing", "kind"): kinds(SharingSettings),
    ("reconstruction", "kind"): choices(ReconstructionSettings, "kind"),
    ("reconstruction", "target"): set(choices(ReconstructionSettings, "target")) - {"own"},
}


@pytest.mark.parametrize(("group", "option"), FAMILIES, ids=lambda name: name)
def test_every_member_of_a_family_has_a_row(group, option):
    written = {tree[group].get(option) for tree in snippets() if group in tree}
    assert set(FAMILIES[group, option]) <= written


def test_the_ways_of_hiding_have_rows():
    written = {option for tree in snippets() for option in tree.get("masking", {})}
    assert (
        {"share", "time", "leads", "visible", "grows_from", "grows_until"}
        <= written
        <= set(MaskingSettings.model_fields)
    )


@pytest.mark.parametrize("tree", snippets(), ids=str)
def test_what_stands_under_yaml_works(tree):
    if tree.get("gradients", {}).get("kind") == "torchjd":
        pytest.importorskip("torchjd")
    assert settings_of(tree).stages[0].name == "joint"


@every_page
def test_longer_yaml_works(page):
    for block in re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        assert isinstance(parse_config(yaml.safe_load(block), page.name), Config)


def is_part(value, whole):
    """Whether a tree holds nothing but what is in another one, which may have more settings."""
    if isinstance(value, dict):
        return isinstance(whole, dict) and all(key in whole and is_part(value[key], whole[key]) for key in value)
    if isinstance(value, list):
        return isinstance(whole, list) and len(value) == len(whole) and all(map(is_part, value, whole))
    return value == whole


@every_page
def test_a_shortened_config_has_the_numbers_of_its_file(page):
    shortened = r"This is \[(configs/\w+\.yaml)\]\([^)]*\), shortened:\n\n```yaml\n(.*?)```"
    for file, block in re.findall(shortened, page.read_text(encoding="utf-8"), re.DOTALL):
        assert is_part(yaml.safe_load(block), yaml.safe_load((ROOT / file).read_text(encoding="utf-8")))


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    inside = [link for link in links if "://" not in link]
    assert [link for link in inside if not (page.parent / link).exists()] == []


@cache
def defined_in(name):
    """The functions of the one test file of this name; none if there is no such file, or are several."""
    found = [*(ROOT / "tests").rglob(name)]
    if len(found) != 1:
        return set()
    return {part.name for part in ast.walk(ast.parse(found[0].read_text())) if isinstance(part, ast.FunctionDef)}


@every_page
def test_files_and_tests_that_are_named_exist(page):
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`(?:tests/)?((?:\w+/)*test_\w+\.py)(?:::(\w+))?`", text)
    missing = [
        f"{name}::{test}" for name, test in named if not defined_in(name) or (test and test not in defined_in(name))
    ]
    files = re.findall(r"`((?:ecgmtl|data_prep|tests|configs|benchmarks|docs)/[\w./-]+)`", text)
    assert missing + [name for name in files if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("cells", [*rows(METHODS)], ids=lambda cells: cells[0])
def test_every_row_names_a_file_and_a_test(cells):
    assert len(cells) == 7
    assert "](../ecgmtl/" in cells[5]
    assert "::test_" in cells[6]


@pytest.mark.parametrize("claim", read_claims(SHIPPED).claims, ids=lambda claim: f"{claim.title}, {claim.measured}")
def test_every_claim_of_the_report_is_on_the_page_with_its_bound(claim):
    lines = (ROOT / "docs/evidence.md").read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith(f"| {claim.title} | {claim.measured} | `"))
    assert f"| {'±' if claim.is_change else ''}{claim.bound:g} {claim.unit} |" in line
    assert f"`{claim.arm}`" in line


def test_every_task_has_a_row():
    assert set(TASKS) <= {task for tree in snippets() for task in tree.get("losses", ())}
