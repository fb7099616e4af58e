"""Faults inside the service: each is the failure of one file or of one request, and none reveals a text."""

import asyncio
import errno
import io
import json
import os
import time
from pathlib import Path

import pytest
from starlette.exceptions import HTTPException

from ecgmtl.inference.options import PredictOptions
from ecgmtl.inference.predictor import load_predictor
from ecgmtl.inference.result import Failure, Prediction
from ecgmtl.serve import connection, guard
from ecgmtl.serve.app import create_app
from ecgmtl.serve.guard import Guard
from ecgmtl.serve.predictions import make_card, predict_uploads
from ecgmtl.serve.server import ServeError, Server, hosts_of, is_loopback, listen
from ecgmtl.serve.uploads import Limits, Upload, store
from tests.serve.client import files_of, multipart

SECRET = "Jane Doe"


class Breaks:
    """A predictor whose library fails whenever it sees more than one record, or any at all."""

    def __init__(self, predictor, most):
        self.metadata, self.predictor, self.most = predictor.metadata, predictor, most

    def logits(self, signals):
        if len(signals) > self.most:
            raise ZeroDivisionError(SECRET)
        return self.predictor.logits(signals)

    def reconstruction_rmse(self, signals):
        return None


@pytest.fixture(scope="module")
def predictor():
    return load_predictor()


def uploads(*files):
    return [Upload(name, len(content), io.BytesIO(content)) for name, content in files]


def results(predictor, *files):
    return [*predict_uploads(predictor, uploads(*files), PredictOptions(), Limits())]


def test_a_library_that_crashes_fails_its_file_without_quoting_it(predictor, records):
    (result,) = results(Breaks(predictor, 0), *files_of(records / "r0.hea"))
    assert isinstance(result, Failure)
    assert result.reason.startswith("r0.hea: ZeroDivisionError, a bug in ecgmtl")
    assert SECRET not in result.reason


def test_a_card_that_cannot_be_made_is_the_failure_of_its_file(predictor, records):
    (result,) = results(Breaks(predictor, 1), *files_of(records / "r0.hea"))
    assert isinstance(result, Prediction)
    made = make_card(result, Breaks(predictor, 1))
    assert (made.summary["status"], made.summary["path"], made.drawing) == ("failed", "r0.hea", None)
    assert SECRET not in json.dumps(made.summary)


def test_files_lie_in_a_private_folder_that_is_removed():
    files = [
        ("a/x.csv", b"1"),
        ("b/x.csv", b"2"),
        ("a/x.csv", b"3"),
        ("A/x.csv", b"4"),
        ("../../x.csv", b"5"),
        (".x", b"6"),
    ]
    with store(uploads(*files), Limits()) as stored:
        (root,) = {folder.parent for folder in stored.folders}
        assert root.stat().st_mode & 0o077 == 0
        assert {path.parent.parent for path in stored.names} == {root}
        assert [path.read_bytes() for path in stored.names] == [content for _, content in files]
    assert not root.exists()


def test_a_made_name_is_not_shown(predictor):
    (result,) = results(predictor, ("what?*.csv", b"1,2\n"))
    assert result.path == Path("what?*.csv")
    assert result.reason.startswith("what?*.csv")
    assert "file-0" not in result.reason


def test_control_characters_are_spelled_out_in_the_message_too(predictor):
    (result,) = results(predictor, ("a/x\x1b[2Jy.csv", b"1,2\n"))
    assert str(result.path) == r"a/x\x1b[2Jy.csv"
    assert result.reason.startswith(r"x\x1b[2Jy.csv ")


def call(app, body=b"", headers=(), delay=0.0, path="/"):
    """Messages that an application sends for a POST request."""
    sent = []

    async def receive():
        await asyncio.sleep(delay)
        return {"type": "http.request", "body": body, "more_body": bool(delay)}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": [*headers]}
    asyncio.run(app(scope, receive, send))
    return sent


def test_an_error_that_nothing_caught_is_logged_by_its_type_alone(caplog):
    async def broken(_scope, _receive, _send):
        raise ZeroDivisionError(SECRET)

    sent = call(Guard(broken, 10))
    assert sent[0]["status"] == 500
    assert SECRET not in caplog.text + str(sent)
    assert "ZeroDivisionError" in caplog.text


def test_a_client_that_sends_nothing_is_not_waited_for():
    from fastapi import FastAPI, UploadFile

    app = FastAPI()

    @app.post("/")
    async def take(files: list[UploadFile]):
        return len(files)

    kind = (b"content-type", b"multipart/form-data; boundary=x")
    sent = call(Guard(app, 10, seconds_to_send=0.05), headers=[kind], delay=0.02)
    assert sent[0]["status"] == 408


def test_a_client_that_sends_a_byte_now_and_then_is_refused_early(monkeypatch):
    monkeypatch.setattr(guard, "GRACE", 0.1)
    with pytest.raises(HTTPException, match=r"in time: \d+ bytes in 0 seconds. .* send fewer files") as refused:
        asyncio.run(n_bytes_read(size=1, seconds=0.02))
    assert refused.value.status_code == 408
    assert asyncio.run(n_bytes_read(size=1000, seconds=0.02)) == 20_000


async def n_bytes_read(size, seconds):
    """Read a body of twenty parts, each of which takes so long."""
    n_parts = 0

    async def receive():
        nonlocal n_parts
        await asyncio.sleep(seconds)
        n_parts += 1
        return {"type": "http.request", "body": size * b"x", "more_body": n_parts < 20}

    body = guard.Body(receive, 10**6, 60.0)
    while not body.is_complete:
        await body.read()
    return body.n_bytes


def test_only_loopback_addresses_are_taken_for_loopback():
    assert [is_loopback(host) for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost")] == [True] * 4
    assert [is_loopback(host) for host in ("0.0.0.0", "::", "192.168.1.2", "localhost.evil")] == [False] * 4
    assert "evil.example" not in hosts_of("127.0.0.1", ())


def test_an_address_that_is_none_is_refused():
    with pytest.raises(ServeError, match=r"host nowhere\.invalid: "):
        listen("nowhere.invalid", 0)


def test_a_client_that_never_asks_or_never_reads_is_not_waited_for(monkeypatch):
    """Its connection would count among those that may be open."""
    monkeypatch.setattr(connection, "SECONDS_TO_ASK", 0.1)
    asyncio.run(serve_slow_clients())


async def serve_slow_clients():
    async def answer(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(50_000_000)})

    with listen("127.0.0.1", 0) as listener:
        server = Server(answer, lambda: None)
        serving = asyncio.create_task(server.serve([listener]))
        silent, unread = [await asyncio.open_connection(*listener.getsockname()) for _ in range(2)]
        unread[1].write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        silent[1].write(b"G")
        assert await asyncio.wait_for(silent[0].read(), 5) == b""
        while server.server_state.connections:
            await asyncio.sleep(0.01)
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert len(await asyncio.wait_for(reader.read(), 20)) > 50_000_000
        for _, open_writer in (silent, unread, (reader, writer)):
            open_writer.close()
        server.should_exit = True
        await asyncio.wait_for(serving, 5)


def test_a_connection_stays_open_for_a_while_after_a_long_request(monkeypatch):
    monkeypatch.setattr(connection, "SECONDS_TO_ASK", 0.6)
    asyncio.run(ask_again_after_a_long_request())


async def ask_again_after_a_long_request():
    durations = iter((1.1, 0))

    async def answer(_scope, _receive, send):
        await asyncio.sleep(next(durations))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    with listen("127.0.0.1", 0) as listener:
        server = Server(answer, lambda: None)
        serving = asyncio.create_task(server.serve([listener]))
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        for _ in range(2):
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            assert (b"200 OK" in head, await reader.readexactly(2)) == (True, b"ok")
            await asyncio.sleep(0.3)
        writer.close()
        server.should_exit = True
        await asyncio.wait_for(serving, 5)


def test_a_request_that_the_end_of_the_service_cuts_off_is_answered_and_its_work_stops(predictor, records):
    predicted = []

    class Slow(Breaks):
        def logits(self, signals):
            predicted.append(len(signals))
            time.sleep(0.1)
            return super().logits(signals)

    app = create_app(Slow(predictor, 99), "slow", ("localhost",))
    body, kind = multipart(files_of(records / "r0.hea") * 48)
    headers = [(b"host", b"localhost"), (b"content-type", kind.encode())]
    sent = asyncio.run(canceled(app, body, headers, predicted))
    time.sleep(0.3)
    assert (sent[0]["status"], len(predicted)) == (503, 1)
    assert b"was stopped before it could answer" in sent[1]["body"]


async def canceled(app, body, headers, predicted):
    """Messages that an application sends if it is canceled once something is predicted."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": body}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/api/predict", "query_string": b"", "headers": headers}
    task = asyncio.create_task(app(scope, receive, send))
    while not predicted:
        await asyncio.sleep(0.01)
    task.cancel()
    await task
    return sent


@pytest.mark.parametrize("writer", ["shutil.copyfileobj", "starlette.datastructures.UploadFile.write"])
@pytest.mark.parametrize(
    ("number", "status", "detail", "logged"),
    [
        (errno.ENOSPC, 507, b"temporary folder of the service cannot be written: No sp", "Make room in it, or set TM"),
        (errno.EROFS, 507, b"cannot be written: Read-only file system. Allow it, and", "Allow it, or set TMPDIR"),
        (errno.EMFILE, 503, b"cannot open another file: Too many open files. Send", "Raise `ulimit -n`"),
    ],
)
def test_files_that_cannot_be_stored_are_the_services_fault_and_said(
    predictor, monkeypatch, caplog, writer, number, status, detail, logged
):
    def fail(*_):
        raise OSError(number, os.strerror(number), SECRET)

    monkeypatch.setattr(writer, fail)
    body, kind = multipart([("a.csv", b"1,2")])
    app = create_app(predictor, "bundled", ("localhost",))
    sent = call(app, body, [(b"host", b"localhost"), (b"content-type", kind.encode())], path="/api/predict")
    assert sent[0]["status"] == status
    assert detail in sent[1]["body"]
    assert logged in caplog.text
    assert SECRET not in caplog.text + str(sent)
