import re

import pytest

from data_prep.places import PlaceError
from data_prep.readers import find_files


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://host/a.hea", "ftp://…: should be a local path, or begin with s3://, http://, https://."),
        ("https://me:secret@host/a.hea", "https://…: holds a user name or a password"),
        ("https://host/a.hea?X-Signature=secret", "https://host…: holds a query"),
        ("https://host/a.hea#secret", "https://host…: holds a query"),
        ("s3:///a.hea", "names no bucket"),
    ],
)
def test_an_address_that_cannot_be_used_or_would_be_repeated_with_a_secret_is_refused(url, said):
    with pytest.raises(PlaceError, match=re.escape(said)) as refused:
        list(find_files([url]))
    assert "secret" not in str(refused.value)
