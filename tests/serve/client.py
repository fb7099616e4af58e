"""A client that sends files under any name, and the service as a process, without torch, to send them to."""

import http.client
import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[2]
START = """
import signal
import sys

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # it is ignored where the tests run under nohup


class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "sklearn", "matplotlib", "mlflow"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, NotInstalled())
from ecgmtl.cli import app

app(["serve", *sys.argv[1:]])
"""


@contextmanager
def running(folder, *options, end=signal.SIGTERM):
    """Start the service, yield its address, stop it, and check that it ended well and logged nothing."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}
    command = [sys.executable, "-c", START, "--port", "0", *options]
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        line = process.stdout.readline()
        assert line.startswith("ptbxl-superdiagnostic: http://127.0.0.1:"), process.stderr.read()
        yield line.split()[1]
        process.send_signal(end)
        output, errors = process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()
    assert output + errors == ""
    assert process.returncode == 0


def multipart(files):
    """The body of a request with these (name, content), and its type."""
    mark = b"a-mark-that-no-file-holds"
    parts = [
        b'--%b\r\nContent-Disposition: form-data; name="files"; filename="%b"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n%b\r\n"
        % (mark, name.replace('"', "%22").encode("utf-8", "surrogateescape"), content)
        for name, content in files
    ]
    return b"".join(parts) + b"--%b--\r\n" % mark, f"multipart/form-data; boundary={mark.decode()}"


def ask(url, path, files=None, headers=(), body=None):
    """Status, headers and body of a response; JSON is parsed."""
    host = urlsplit(url).netloc
    connection = http.client.HTTPConnection(host, timeout=30)
    kind = "application/octet-stream"
    if files is not None:
        body, kind = multipart(files)
    everything = {"Host": host, **({} if body is None else {"Content-Type": kind}), **dict(headers)}
    method = "GET" if body is None else "POST"
    connection.request(method, path, body, everything)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    is_json = response.headers.get_content_type() == "application/json"
    return response.status, response.headers, json.loads(text) if is_json else text


def files_of(path):
    """A WFDB record's two files, as (name, content)."""
    return [(file.name, file.read_bytes()) for file in (path, path.with_suffix(".dat"))]
