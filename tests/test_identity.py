import hashlib
from pathlib import Path

import data_prep
from ecgmtl.identity import code_digest, sha256


def test_sha256_is_the_standard_one():
    assert sha256(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1


def test_the_code_is_known_by_all_of_its_lines():
    again = hashlib.sha256()
    root = Path(data_prep.__file__).parent.parent
    for package in ("data_prep", "ecgmtl"):
        for path in sorted((root / package).rglob("*.py")):
            again.update(path.relative_to(root / package).as_posix().encode() + path.read_bytes())
    code_digest.cache_clear()
    assert code_digest() == again.hexdigest()
