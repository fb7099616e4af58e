import re
import sys
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest

from data_prep.leads import STANDARD_LEADS
from data_prep.places import PlaceError, RemotePath
from data_prep.readers import OtherFile, find_files, find_record, find_records, read_record
from data_prep.readers.other_files import OtherFileKind
from data_prep.record import RecordError
from tests.folders import ecg, write_record
from tests.places import Quiet, s3_server, web_server


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Records of several formats and what lies beside them in real folders."""
    folder, rng = tmp_path_factory.mktemp("records"), np.random.default_rng(0)
    for name in ("a", "sub/b", "sub/ü é", "sub/deeper/c", "s_1", "s_2", "cut", "no samples"):
        write_record(folder / name, ecg(rng))
    (folder / "joined.hea").write_text("joined/2 12 100 2000\ns_1 1000\ns_2 1000\n")
    (folder / "cut.dat").write_bytes(b"cut off")
    (folder / "no samples.dat").unlink()
    (folder / "a.atr").write_bytes(b"\0\0")
    (folder / "notes.txt").write_text("nothing\n")
    (folder / "empty.csv").touch()
    header = ",".join(f"{lead} (mV)" for lead in STANDARD_LEADS)
    np.savetxt(folder / "text.csv", ecg(rng), "%.4f", ",", header=f"# fs=100\n{header}", comments="")
    (folder / "labels.csv").write_text("record,AF\na,1\n")
    np.savez(folder / "old.npz", label_names=["a"], probabilities=[0.5])
    np.savez(folder / "array.npz", signal=ecg(rng), fs=100, leads=header.replace(" (mV)", "").split(","), unit="mV")
    pd.DataFrame({"path": ["a"], "status": ["ok"]}).to_parquet(folder / "p.parquet")
    (folder / "unknown.xyz").write_bytes(b"?")
    return folder


@pytest.fixture
def s3(folder, monkeypatch):
    with s3_server(monkeypatch) as files:
        files.put(f"{folder}/", "bucket/ecgs/", recursive=True)
        yield files


@pytest.fixture
def web(folder):
    with web_server(folder) as url:
        yield url


def names(found, root):
    return [
        (str(file.path).removeprefix(root), file.kind) if isinstance(file, OtherFile) else str(file).removeprefix(root)
        for file in found
    ]


def outcome(file):
    try:
        record = read_record(file)
    except RecordError as error:
        return str(error)
    return record.name, record.signal.tobytes(), record.fs, record.leads, record.remarks


def compare(folder, url):
    local, remote = list(find_files([folder])), list(find_files([url]))
    there = [unquote(name) if url.startswith("http") and isinstance(name, str) else name for name in names(remote, url)]
    assert there == names(local, f"{folder}/")
    for here, there in zip(local, remote, strict=True):
        if not isinstance(here, OtherFile):
            assert outcome(there) == outcome(here)
    return remote


def test_a_bucket_has_the_records_of_the_folder_and_each_is_read_the_same_to_the_bit(folder, s3):
    remote = compare(folder, "s3://bucket/ecgs/")
    assert "s3://bucket/ecgs/joined.hea" in map(str, remote)
    assert not {"s3://bucket/ecgs/s_1.hea", "s3://bucket/ecgs/labels.csv"} & set(map(str, remote))


def test_a_web_folder_has_the_records_of_the_folder_and_each_is_read_the_same_to_the_bit(folder, web):
    compare(folder, web)


def test_files_patterns_and_records_are_named_as_local_ones_are(s3, tmp_path):
    def found(*urls):
        return [str(file).removeprefix("s3://bucket/ecgs/") for file in find_records(urls)]

    at = "s3://bucket/ecgs"
    assert found(f"{at}/a.hea", f"{at}/a.dat", f"{at}/a") == ["a.hea"]
    assert found(f"{at}/sub/*.hea") == ["sub/b.hea", "sub/ü é.hea"]
    assert found(f"{at}/s_[12].hea") == ["s_1.hea", "s_2.hea"]
    assert found(f"{at}/sub") == ["sub/b.hea", "sub/ü é.hea", "sub/deeper/c.hea"]
    assert found(f"{at}/none", f"{at}/none.hea", f"{at}/*.none") == ["none", "none.hea", "*.none"]
    assert read_record(find_record("s3://bucket/ecgs/sub/b")).name == "b"
    assert outcome(find_record(f"{at}/none.hea")) == outcome(find_record(tmp_path / "none.hea"))
    with pytest.raises(RecordError, match=r"^none: there is no such file\.$"):
        read_record(find_record(f"{at}/none"))
    assert read_record(RemotePath(f"{at}/a.dat")).name == "a"


def test_names_that_s3_allows_and_files_do_not_are_reported(s3):
    for key in ("odd//a.hea", f"odd/{'x' * 300}.hea", "odd/...", "odd/we+ird#?.hea"):
        s3.pipe_file(f"bucket/{key}", b"not a header")
    found = list(find_files(["s3://bucket/odd/"]))
    assert ("//", OtherFileKind.NO_READER) in names(found, "s3://bucket/odd/")
    texts = [outcome(file) for file in found if not isinstance(file, OtherFile)]
    assert sum("no local file can have its name; rename it" in text for text in texts) == 2
    assert sum("we+ird#?.hea: its first line is not" in text for text in texts) == 1


def test_a_record_states_what_would_change_if_one_of_its_files_did(s3):
    def states():
        return {str(file): file.state for file in find_records(["s3://bucket/ecgs/sub/"])}

    before = states()
    s3.pipe_file("bucket/ecgs/sub/b.dat", b"another one")
    after = states()
    assert {file for file in before if before[file] != after[file]} == {"s3://bucket/ecgs/sub/b.hea"}


class Faulty(Quiet):
    """Answers by the file's name: an error, a cut or an endless body, or a header that names files elsewhere."""

    def do_GET(self):  # noqa: N802, the name that the server calls
        code = re.search(r"(\d{3})\.csv$", self.path)
        if code:
            self.server.asked = getattr(self.server, "asked", 0) + 1
            self.send_error(int(code[1]))
        elif "cut.csv" in self.path:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"I,II\n")
        elif "endless.csv" in self.path:
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(bytes(2**16))
            except OSError:
                self.close_connection = True
        else:
            super().do_GET()


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("404.csv", RecordError, "404.csv: there is no such file."),
        ("403.csv", RecordError, "403.csv: the server answered 403."),
        ("503.csv", PlaceError, "503.csv: cannot be reached (ClientResponseError); check the address"),
        ("cut.csv", PlaceError, "cut.csv: cannot be reached (ClientPayloadError)"),
        ("endless.csv", RecordError, "endless.csv holds more than 1000000 bytes, which is not fetched"),
    ],
)
def test_a_fault_of_a_file_is_told_from_one_of_its_server(folder, monkeypatch, name, error, said):
    monkeypatch.setattr("data_prep.attempts.PAUSE", 0.0)
    monkeypatch.setattr("data_prep.remote.MOST_BYTES", 1_000_000)
    with web_server(folder, Faulty) as url, pytest.raises(error, match=re.escape(said)):
        read_record(RemotePath(f"{url}{name}"))


def test_a_server_that_is_away_is_no_fault_of_the_files(folder, monkeypatch):
    monkeypatch.setattr("data_prep.attempts.PAUSE", 0.0)
    with web_server(folder) as url:
        pass
    with pytest.raises(PlaceError, match="cannot be reached"):
        next(find_files([url]))


def test_a_header_never_leads_to_files_of_another_folder(folder, web, tmp_path):
    content = (folder / "a.hea").read_text().replace("a.dat", "../a.dat")
    (folder / "sub/escaping.hea").write_text(content)
    try:
        with pytest.raises(RecordError, match="must lie in a file beside the header"):
            read_record(RemotePath(f"{web}sub/escaping.hea"))
    finally:
        (folder / "sub/escaping.hea").unlink()


def test_a_missing_package_is_named_with_the_extra_that_brings_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(PlaceError, match=r"the package aiohttp is not installed; .* pip install 'ecgmtl\[remote\]'"):
        read_record(RemotePath("https://host/a.hea"))
