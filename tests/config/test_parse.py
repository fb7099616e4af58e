import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgmtl.config.parse import StrictYamlError, load_yaml

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(tree=VALUES)
@settings(deadline=None)
def test_what_says_no_key_twice_is_read_as_pyyaml_reads_it(tree):
    for text in (yaml.safe_dump(tree), json.dumps(tree)):
        assert load_yaml(text) == yaml.safe_load(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3", "line 3: 'a' is already in line 1"),
        ("a: 1\n'a': 1", "line 2: 'a' is already in line 1"),
        ("a:\n  - {b: 1}\n  - {c: 1,\n     c: 2}", "line 4: 'c' is already in line 3"),
        ("a: [", "line 1: expected the node content, but found '<stream end>'"),
        ("a: 1\n b: 2", "line 2: mapping values are not allowed here"),
        ("? [1]\n: 2", "line 1: found unhashable key"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(text, said):
    with pytest.raises(StrictYamlError) as caught:
        load_yaml(text)
    assert str(caught.value) == said


def test_characters_that_no_text_has_are_told():
    with pytest.raises(StrictYamlError, match=r"^unacceptable character #x0000: special characters are not allowed"):
        load_yaml("a: \x00")


def test_a_key_may_stand_in_several_groups_and_over_one_that_is_merged():
    text = "x: &x {a: 1, b: 2}\ny: &y {<<: *x, a: 3}\nz: {<<: *y}"
    assert load_yaml(text) == {"x": {"a": 1, "b": 2}, "y": {"a": 3, "b": 2}, "z": {"a": 3, "b": 2}}


def test_of_several_merged_mappings_the_first_one_counts():
    text = "one: &one {size: 1, rate: 2}\ntwo: &two {size: 3, rate: 4}\nz: {<<: [*one, *two], rate: 5}"
    assert load_yaml(text)["z"] == {"size": 1, "rate": 5}


def test_a_text_makes_no_objects():
    with pytest.raises(StrictYamlError, match="could not determine a constructor for the tag"):
        load_yaml("a: !!python/object/apply:os.getcwd []")


@pytest.mark.parametrize("text", ["a: 2020-13-45", "[" * 100_000, "a: " + "9" * 5000])
def test_a_value_that_cannot_be_built_is_refused(text):
    with pytest.raises(StrictYamlError, match=r"cannot be read|nested too deeply"):
        load_yaml(text)
