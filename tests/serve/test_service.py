"""The service as a process: what it answers, what it refuses, and how it ends."""

import io
import os
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

from data_prep.readers import read_record
from ecgmtl.inference.predict import predict
from ecgmtl.inference.predictor import load_predictor
from tests.serve.client import START, ask, files_of, multipart, running

HOSTILE = [
    "../../../etc/passwd.csv",
    "/etc/passwd.csv",
    "C:\\Windows\\win.csv",
    "..\\..\\up.csv",
    "a\0b.csv",
    "nul.csv",
    ".csv",
    "..",
    "",
    "=cmd|' /C calc'!A0.csv",
    "<script>alert(1)</script>.csv",
    "\u202egnp.csv",
    "x" * 1_000 + ".csv",
    "x/" * 500 + "y.csv",
    "*[a-z]?.csv",
]


@pytest.fixture(scope="module")
def temporary(tmp_path_factory):
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def url(temporary):
    """The address of a service that takes files of 1 MB and requests of 4 MB, and ends as with Ctrl-C."""
    with running(temporary, "--max-mb", "1", end=signal.SIGINT) as url:
        yield url
    assert [*temporary.iterdir()] == []


@pytest.fixture(scope="module")
def table(records):
    """An ECG as the text of a CSV file."""
    record = read_record(records / "r0.hea")
    rows = [", ".join(f"{value:.4f}" for value in row) for row in record.signal.tolist()]
    return "\n".join(["# fs=100", ",".join(f"{lead} (mV)" for lead in record.leads), *rows]).encode()


def test_the_answer_is_that_of_predict_and_names_the_rate_and_the_leads(url, records):
    (expected,) = predict(load_predictor(), records / "r0.hea")
    status, _, answer = ask(url, "/api/predict", files_of(records / "r0.hea"))
    assert status == 200
    (result,) = answer["results"]
    assert (result["path"], result["fs"], len(result["leads"])) == ("r0.hea", 100, 12)
    for name, label in result["labels"].items():
        assert label["probability"] == pytest.approx(expected.calibrated[name], abs=1e-6)
        assert label["uncalibrated"] == pytest.approx(expected.probabilities[name], abs=1e-6)
        assert label["decision"] == (label["probability"] >= label["threshold"])
    assert result["findings"] == [finding.to_dict() for finding in expected.findings]
    assert answer["notice"].startswith("Not a medical device.")


def test_each_file_of_a_request_is_accounted_for_under_its_own_name(url, records, table):
    folders = [(f"{folder}/{name}", content) for folder in "ab" for name, content in files_of(records / "r1.hea")]
    twice = [("t.csv", table), ("t.csv", table)]
    bad = [("alone.dat", b"\0" * 100), ("empty.csv", b""), ("letter.docx", b"x"), ("scan.scp", b"x"), ("bad.hea", b"?")]
    answer = ask(url, "/api/predict", [*bad, *folders, *twice])[2]
    status = {result["path"]: result["status"] for result in answer["results"]}
    assert len(answer["results"]) == 8
    assert status == {
        **dict.fromkeys(("a/r1.hea", "b/r1.hea", "t.csv"), "ok"),
        **dict.fromkeys(("alone.dat", "empty.csv", "scan.scp", "bad.hea"), "failed"),
    }
    assert [other["path"] for other in answer["other_files"]] == ["letter.docx"]
    for result in answer["results"]:
        assert (result["message"] is not None) == (result["status"] == "failed")


def test_a_file_of_many_ecgs_is_refused_alone_with_the_command_that_converts_it(url, table):
    np.save(content := io.BytesIO(), np.ones((5, 1000, 12), np.int8))
    answer = ask(url, "/api/predict", [("X.npy", content.getvalue()), ("t.csv", table)])[2]
    messages = {result["path"]: result["message"] for result in answer["results"]}
    assert "X.npy is an array of 5 ECGs (5 x 1000 x 12), not a single one" in messages["X.npy"]
    assert "ecgmtl convert X.npy X-wfdb --fs HERTZ --unit UNIT --leads NAMES" in messages["X.npy"]
    assert messages["t.csv"] is None


def test_facts_that_a_file_lacks_come_with_the_request(url, table):
    bare = [("bare.csv", table.split(b"\n", 1)[1])]
    (without,) = ask(url, "/api/predict", bare)[2]["results"]
    (given,) = ask(url, "/api/predict?fs=100", bare)[2]["results"]
    assert (without["status"], given["status"], given["fs"]) == ("failed", "ok", 100)
    status, _, answer = ask(url, "/api/predict?unit=furlong", bare)
    assert (status, "furlong" in answer["detail"]) == (400, True)


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name)[:20])
def test_no_name_leads_out_of_the_folder_or_breaks_the_answer(url, table, temporary, name):
    status, _, answer = ask(url, "/api/predict", [(name, table)])
    assert status == 200
    said = [result["path"] for result in answer["results"]] + [other["path"] for other in answer["other_files"]]
    assert len(said) == 1
    assert said[0].isprintable()
    assert len(said[0]) < 2_000
    assert [*temporary.iterdir()] == []
    if name.endswith(".csv") and name != ".csv":
        assert [result["status"] for result in answer["results"]] == ["ok"]


def test_a_name_that_no_file_has_is_refused(url, table):
    assert ask(url, "/api/predict", [("x" * 10_000 + ".csv", table)])[0] == 400


@pytest.mark.parametrize("target", ["/etc/passwd", "../../secret.dat", "/dev/zero"])
def test_a_header_that_names_samples_elsewhere_is_refused(url, target):
    header = f"r 1 100 1000\n{target} 16 1000/mV 16 0 0 0 0 I\n".encode()
    (result,) = ask(url, "/api/predict", [("r.hea", header)])[2]["results"]
    assert result["status"] == "failed"
    assert "beside the header" in result["message"]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost@evil.example"])
def test_a_name_that_is_not_this_computers_is_refused(url, host):
    assert ask(url, "/", headers={"Host": host})[0] == 400


def test_other_websites_cannot_send_files(url, records):
    own, files = url.rstrip("/"), files_of(records / "r0.hea")
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": own.replace("127.0.0.1", "localhost")},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": own},
    ):
        assert ask(url, "/api/predict", files, headers)[0] == 403
    assert ask(url, "/api/predict", files, {"Origin": own, "Sec-Fetch-Site": "same-origin"})[0] == 200


def test_what_is_too_large_is_refused_in_words(url):
    (result,) = ask(url, "/api/predict", [("big.csv", b"0" * 1_000_001)])[2]["results"]
    assert result["status"] == "failed"
    assert "big.csv has 1.0 MB, but a file may have at most 1 MB here." in result["message"]
    status, _, answer = ask(url, "/api/predict", [("big.csv", b"0" * 4_000_001)])
    assert (status, "at most 4 MB" in answer["detail"]) == (413, True)
    status, _, answer = ask(url, "/api/predict", [(f"{i}.csv", b"") for i in range(257)])
    assert (status, "at most 256 files" in answer["detail"]) == (413, True)


def test_a_body_of_unknown_length_is_counted_while_it_arrives(url):
    body, kind = multipart([("big.csv", b"0" * 5_000_000)])
    chunks = (body[i : i + 65_536] for i in range(0, len(body), 65_536))
    assert ask(url, "/api/predict", body=chunks, headers={"Content-Type": kind})[0] == 413


@pytest.mark.parametrize("body", [b"", b"no form", b"\0" * 1000])
def test_what_is_no_form_is_refused(url, body):
    for kind in ("multipart/form-data; boundary=x", "multipart/form-data", "application/json", "text/plain"):
        assert ask(url, "/api/predict", body=body, headers={"Content-Type": kind})[0] in (400, 422)
    assert ask(url, "/api/model")[0] == 200


@pytest.mark.parametrize("path", ["/", "/api/model", "/openapi.json", "/nothing", "/docs", "/../../etc/passwd"])
def test_every_response_keeps_the_browser_strict(url, path):
    _, headers, _ = ask(url, path)
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert (headers["X-Content-Type-Options"], headers["Cache-Control"]) == ("nosniff", "no-store")
    assert headers["Access-Control-Allow-Origin"] is None
    assert headers["Server"] is None


def test_the_description_names_the_endpoint_and_what_it_returns(url):
    described = ask(url, "/openapi.json")[2]
    assert set(described["paths"]) == {"/api/model", "/api/predict"}
    assert "multipart/form-data" in described["paths"]["/api/predict"]["post"]["requestBody"]["content"]
    assert {"path", "status", "labels", "findings"} <= set(
        described["components"]["schemas"]["RecordAnswer"]["properties"]
    )
    assert ask(url, "/api/model")[2]["labels"][0]["name"] == "CD"


def test_a_taken_port_is_an_error_in_words(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-c", START, "--port", port]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 1
    assert done.stderr.startswith(f"127.0.0.1, port {port}: Address already in use. 'ecgmtl serve --port 0'")


def test_a_terminal_that_closes_ends_it_as_well(tmp_path):
    with running(tmp_path, end=signal.SIGHUP) as url:
        assert ask(url, "/api/model")[0] == 200


def test_a_request_that_is_being_answered_ends_before_the_service(tmp_path, table):
    files = [(f"{i}.csv", table) for i in range(10)]
    with running(tmp_path) as url:
        host, port = url.removeprefix("http://").rstrip("/").split(":")
        body, kind = multipart(files)
        with socket.create_connection((host, int(port))) as connection:
            head = f"POST /api/predict HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}\r\n"
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            assert ask(url, "/api/model")[0] == 200
            answered = os.dup(connection.fileno())
    with socket.socket(fileno=answered) as rest:
        text = b""
        while part := rest.recv(65_536):
            text += part
    assert text.startswith(b"HTTP/1.1 200")
    assert text.count(b'"status":"ok"') == 10
    assert [*tmp_path.iterdir()] == []
