import pytest

from ecgmtl.identity import code_digest, package_digest, sha256

MODULE = '''"""A module."""

RATE = 0.5
"""A constant."""


def half(x):
    """Halve."""
    return RATE * x
'''


def test_sha256_is_the_standard_one():
    assert sha256(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1


@pytest.mark.parametrize(
    ("old", "new", "is_kept"),
    [
        ("A module.", "The module.", True),
        ("A constant.", "Another wording.", True),
        ("Halve.", "Return half.", True),
        ("RATE * x", "RATE * x  # half", True),
        ("\n\n\ndef", "\n\n\n\ndef", True),
        ("0.5", "0.25", False),
        ("RATE * x", "x * RATE", False),
        ("return RATE * x", 'return "Halve."', False),
    ],
)
def test_the_code_digest_changes_with_what_is_executed_alone(tmp_path, old, new, is_kept):
    path = tmp_path / "module.py"
    path.write_text(MODULE)
    before = package_digest(tmp_path)
    path.write_text(MODULE.replace(old, new))
    assert (package_digest(tmp_path) == before) == is_kept


def test_the_code_digest_changes_with_a_module_s_name(tmp_path):
    path = tmp_path / "module.py"
    path.write_text(MODULE)
    before = package_digest(tmp_path)
    path.rename(tmp_path / "other.py")
    assert package_digest(tmp_path) != before


def test_both_packages_have_one_digest_per_process():
    assert code_digest() == code_digest()
    assert len(code_digest()) == 64
