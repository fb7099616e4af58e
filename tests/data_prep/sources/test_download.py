"""Fetching from a real HTTP server on this machine, which serves a small PTB-XL and misbehaves on demand."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest

from data_prep import attempts
from data_prep.sources import download as module
from data_prep.sources.download import CHECKSUMS, DownloadError, Listed, download, require_space
from data_prep.synthetic.folder import write_ptbxl
from tests.publisher import Publisher


@pytest.fixture(scope="module")
def ptbxl(tmp_path_factory):
    folder = tmp_path_factory.mktemp("publisher")
    write_ptbxl(folder, 20, 0, fs=100)
    (folder / "records500/00000").mkdir(parents=True)
    (folder / "records500/00000/00001_hr.dat").write_bytes(b"5" * 120_000)
    return folder


@pytest.fixture
def publisher(ptbxl, monkeypatch):
    monkeypatch.setattr(attempts, "PAUSE", 0.01)
    server = Publisher(ptbxl)
    server.paths = server.write_list()
    server.lowest = [path for path in server.paths if not path.startswith("records500")]
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def fetch(publisher, folder, **options):
    return download(folder, source=publisher.url, **options)


def files_in(folder):
    own = {CHECKSUMS, ".lock"}
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p.name not in own)


def assert_same(folder, publisher, paths):
    assert files_in(folder) == paths
    assert all((folder / path).read_bytes() == (publisher.folder / path).read_bytes() for path in paths)


def test_all_files_of_one_sampling_rate_are_fetched_and_verified(publisher, tmp_path):
    seen = []
    done = fetch(publisher, tmp_path / "new", progress=lambda done, total: seen.append((done, total)))
    assert done == (len(publisher.lowest), len(publisher.lowest), ())
    assert_same(tmp_path / "new", publisher, publisher.lowest)
    assert seen[-1] == (len(publisher.lowest),) * 2


def test_both_sampling_rates_are_fetched_where_both_are_asked_for(publisher, tmp_path):
    assert fetch(publisher, tmp_path, rate="both").n_files == len(publisher.paths)
    assert_same(tmp_path, publisher, publisher.paths)


def test_only_missing_and_damaged_files_are_fetched_again(publisher, tmp_path):
    fetch(publisher, tmp_path)
    gone, damaged = publisher.lowest[0], publisher.lowest[5]
    (tmp_path / gone).unlink()
    (tmp_path / damaged).write_bytes(b"damaged")
    publisher.asked.clear()
    assert fetch(publisher, tmp_path).n_fetched == 2
    assert publisher.asked == {CHECKSUMS: 1, gone: 1, damaged: 1}
    assert_same(tmp_path, publisher, publisher.lowest)


@pytest.mark.parametrize("fault", ["error", "cut", "stated too long", "stated too short", "altered", "elsewhere"])
def test_a_file_that_goes_wrong_twice_is_fetched_at_the_third_attempt(publisher, tmp_path, fault):
    path = publisher.lowest[3]
    publisher.faults[path] = (fault, 2)
    assert fetch(publisher, tmp_path).failures == ()
    assert publisher.asked[path] == 3
    assert_same(tmp_path, publisher, publisher.lowest)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("error", "the server answered 503"),
        ("cut", "the connection failed"),
        ("stated too long", "the connection failed"),
        ("stated too short", "has a different SHA-256 from the publisher's list"),
        ("altered", "has a different SHA-256 from the publisher's list"),
        ("elsewhere", "the server answered 302"),
    ],
)
def test_a_file_that_stays_wrong_is_named_and_the_others_are_fetched(publisher, tmp_path, fault, reason):
    path = publisher.lowest[3]
    publisher.faults[path] = (fault, 99)
    done = fetch(publisher, tmp_path)
    ((name, told),) = done.failures
    assert name == path
    assert reason in told
    assert done.n_files == len(publisher.lowest) - 1
    assert_same(tmp_path, publisher, [other for other in publisher.lowest if other != path])


@pytest.mark.parametrize(
    ("status", "n_attempts"), [(403, 1), (404, 1), (410, 1), (408, 4), (425, 4), (429, 4), (500, 4)]
)
def test_only_an_answer_that_may_change_is_asked_for_again(publisher, tmp_path, status, n_attempts):
    path = publisher.lowest[3]
    publisher.faults[path] = (status, 99)
    ((name, reason),) = fetch(publisher, tmp_path).failures
    assert (name, publisher.asked[path]) == (path, n_attempts)
    assert f"the server answered {status}" in reason
    assert reason.endswith(", 4 times") == (n_attempts == 4)


def test_a_file_that_is_there_stays_when_its_successor_cannot_be_fetched(publisher, tmp_path):
    path = publisher.lowest[3]
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text("of an earlier version")
    publisher.faults[path] = ("altered", 99)
    fetch(publisher, tmp_path)
    assert (tmp_path / path).read_text() == "of an earlier version"


def test_a_server_that_never_stops_is_left(publisher, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 20_000)
    done = fetch(publisher, tmp_path)
    assert "sent more than" in dict(done.failures)[next(path for path in publisher.lowest if path.endswith(".dat"))]


def test_a_server_that_is_gone_ends_the_download(publisher, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_FAILURES", 3)
    publisher.faults = dict.fromkeys(publisher.lowest, ("error", 99))
    with pytest.raises(DownloadError, match=r"the last 3 files failed.*the same command continues"):
        fetch(publisher, tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        "no sum at all",
        f"{'0' * 64} ../outside",
        f"{'0' * 64} /etc/passwd",
        f"{'0' * 64} a/../../b",
        f"{'0' * 63} short",
    ],
)
def test_a_list_that_leaves_the_folder_or_is_none_is_refused(publisher, tmp_path, line):
    (publisher.folder / CHECKSUMS).write_text(f"{'0' * 64} fine.txt\n{line}\n")
    with pytest.raises(DownloadError, match="line 2: should be a SHA-256 sum and a path inside the folder"):
        fetch(publisher, tmp_path / "new")
    assert files_in(tmp_path / "new") == []


def test_an_empty_list_is_refused(publisher, tmp_path):
    (publisher.folder / CHECKSUMS).write_text("")
    with pytest.raises(DownloadError, match="lists no file"):
        fetch(publisher, tmp_path)


def test_a_missing_list_names_its_address(publisher, tmp_path):
    (publisher.folder / CHECKSUMS).unlink()
    with pytest.raises(DownloadError, match=rf"{CHECKSUMS}: the server answered 404 .*check the address"):
        fetch(publisher, tmp_path)


@pytest.mark.parametrize("source", ["http://example.org/ptb-xl/", "ftp://physionet.org/", "file:///etc/", "ptb-xl"])
def test_an_address_without_https_is_refused(source, tmp_path):
    with pytest.raises(DownloadError, match="is not an https address"):
        download(tmp_path, source=source)


def test_a_disk_with_too_little_space_is_told_before_the_first_record(tmp_path, monkeypatch):
    listed = [Listed(f"records500/{number}.dat", "0" * 64) for number in range(100)]
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    with pytest.raises(DownloadError, match=r"100 files of about 0.01 GB are to be fetched, but 0.00 GB are free"):
        require_space(tmp_path, listed)


def test_the_space_is_estimated_by_the_kind_of_file(publisher):
    records = [path for path in publisher.lowest if path.startswith("records100")]
    estimated = sum(Listed(path, "").n_bytes for path in records)
    blocks = sum(-(-(publisher.folder / path).stat().st_size // 4096) * 4096 for path in records)
    assert estimated == blocks


@pytest.mark.skipif(os.name != "posix", reason="kills by a signal")
@pytest.mark.parametrize("after", [0.15, 0.4])
def test_a_killed_download_continues_and_leaves_no_partial_file(publisher, tmp_path, after):
    publisher.pause = 0.05
    code = (
        "from pathlib import Path; from data_prep.sources.download import download; "
        f"download(Path({str(tmp_path)!r}), source={publisher.url!r}, jobs=2)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=Path(module.__file__).parents[2])
    while publisher.asked.total() < 4:
        time.sleep(0.02)
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    process.wait()
    held = files_in(tmp_path)
    whole = [path for path in held if not path.endswith(".partial")]
    assert all((tmp_path / path).read_bytes() == (publisher.folder / path).read_bytes() for path in whole)
    publisher.pause = 0.0
    assert fetch(publisher, tmp_path).n_fetched == len(publisher.lowest) - len(whole)
    assert_same(tmp_path, publisher, publisher.lowest)
