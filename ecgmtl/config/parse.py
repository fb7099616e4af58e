"""Settings as text: strict YAML, changes of single keys, and errors in the words of the user's own file."""

from pathlib import Path
from typing import Any

import yaml
from yaml import MappingNode, ScalarNode

from data_prep.errors import UserError


class ConfigError(UserError):
    """Settings that are not a valid run; the message names the file, the key, what was found and how to fix it."""


class StrictYamlError(UserError):
    """Text that is not valid YAML, or contradicts itself; the message is one line that names the place."""


class StrictLoader(yaml.SafeLoader):
    """Loader of plain values that refuses duplicate keys, of which PyYAML alone silently takes the last one."""

    def compose_mapping_node(self, anchor: Any) -> MappingNode:
        node = super().compose_mapping_node(anchor)
        first: dict[str, int] = {}
        for key in (key for key, _ in node.value if isinstance(key, ScalarNode)):
            line = key.start_mark.line + 1
            if key.value in first:
                raise StrictYamlError(f"line {line}: '{key.value}' is already in line {first[key.value]}")
            first[key.value] = line
        return node


def load_yaml(text: str) -> object:
    """Parse YAML into plain values.

    Raises:
        StrictYamlError: the text cannot be parsed, or has a duplicate key.
    """
    try:
        return yaml.load(text, StrictLoader)  # noqa: S506  (it is a SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}: " if mark else ""
        raise StrictYamlError(f"{where}{error.problem}") from error
    except yaml.YAMLError as error:
        raise StrictYamlError(" ".join(str(error).split())) from error
    except StrictYamlError:
        raise
    except (ValueError, TypeError, LookupError, OverflowError) as error:  # such as a date of month 13
        raise StrictYamlError(f"a value cannot be read: {error}") from error
    except RecursionError as error:
        raise StrictYamlError("nested too deeply") from error


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a tree of settings.

    Raises:
        ConfigError: the file cannot be read, or holds no settings.
    """
    try:
        tree = load_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, StrictYamlError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {error}.") from error
    if not isinstance(tree, dict):
        raise ConfigError(
            f"{path}: should hold settings as `key: value`; found {'nothing' if tree is None else type(tree).__name__}."
        )
    return tree


def read_value(dotted: str, value: str) -> object:
    """Parse the value of an override."""
    try:
        return load_yaml(value)
    except StrictYamlError as error:
        raise ConfigError(f"--set {dotted}={value}: the value cannot be read as YAML: {error}.") from None


def set_key(tree: Any, dotted: str, value: object) -> None:
    """Set one value of a tree."""
    *parents, last = dotted.split(".")
    try:
        for key in parents:
            if isinstance(tree, dict) and tree.get(key) is None:
                tree[key] = {}  # a group that is left out by default, as is the forest
            tree = tree[int(key)] if isinstance(tree, list) else tree[key]
        if last == "kind" and tree.get(last) != value:
            tree.clear()  # the settings of one kind do not apply to another
        tree[int(last) if isinstance(tree, list) else last] = value
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"--set {dotted}: there is no such key in the config; `ecgmtl show defaults` lists the keys."
        ) from error


ALL_SETTINGS = "is it misspelled? `ecgmtl show defaults` lists all"
LIST, GROUP = "a list, as [a, b]", "a group of settings, as {key: value}"
SHAPES = {
    **dict.fromkeys(("tuple_type", "list_type"), LIST),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type", "dataclass_type"), GROUP),
}
"""Descriptions of what a value should be, by the kind of pydantic's error, which itself names types of Python."""


def explain(mistake: Any, tree: Any, known: str = ALL_SETTINGS) -> str:
    """Describe one error of pydantic in a line: the key in the user's tree, and what is wrong with it.

    `known` tells the reader of an unknown key where to find the keys that there are.
    """
    key = dotted_key(mistake["loc"], tree)
    if mistake["type"] == "union_tag_invalid":
        kinds = mistake["ctx"]["expected_tags"].replace("'", "")
        return f"{key}.kind: '{mistake['ctx']['tag']}' is not one of {kinds}."
    if mistake["type"] == "union_tag_not_found":
        return f"{key}: should have a `kind`."
    if mistake["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{key}: there is no such setting; {known}."
    if mistake["type"] in SHAPES:
        return f"{key}: should be {SHAPES[mistake['type']]}; found {mistake['input']!r}."
    message = mistake["msg"].removeprefix("Value error, ").removesuffix(".")
    if holds_groups(mistake["input"]):  # the message names the key
        return f"{message}." if not key or message.startswith(f"{key}.") else f"{key}: {message}."
    return f"{key}: {message}; found {mistake['input']!r}."


def holds_groups(value: object) -> bool:
    """Return whether a value is, or contains, a group of settings."""
    return isinstance(value, dict) or (isinstance(value, list | tuple) and any(map(holds_groups, value)))


def dotted_key(keys: tuple[str | int, ...], tree: Any) -> str:
    """Return the dotted key as the user wrote it: pydantic puts the kind of a group among the keys."""
    written: list[str] = []
    for key in keys:
        if isinstance(tree, dict) and tree.get("kind") == key:
            continue
        written.append(str(key))
        try:
            tree = tree[key]
        except (LookupError, TypeError):
            tree = None
    return ".".join(written)
