"""Strict YAML, in which a duplicate key is an error. PyYAML alone silently takes the last one."""

from typing import Any

import yaml
from yaml import MappingNode, ScalarNode

from data_prep.errors import UserError


class StrictYamlError(UserError):
    """Text that is not valid YAML, or contradicts itself; the message is one line that names the place."""


class StrictLoader(yaml.SafeLoader):
    """Loader of plain values that refuses duplicate keys."""

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
