"""Servers on this machine that stand for remote places."""

import socket
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest


def free_port():
    """A port on which nothing listens yet."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def s3_server(monkeypatch):
    """Run an S3-compatible server, which s3fs finds by the environment, and yield the file system of its bucket."""
    for package in ("s3fs", "moto", "flask_cors"):
        pytest.importorskip(package, reason=f"needs {package}: pip install 'ecgmtl[test]'")
    from moto.s3.models import s3_backends
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    s3_backends.reset()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    for name, value in (("ACCESS_KEY_ID", "x"), ("SECRET_ACCESS_KEY", "x"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    try:
        files = s3fs.S3FileSystem(use_listings_cache=False)
        files.mkdir("bucket")
        yield files
    finally:
        server.stop()
        s3fs.S3FileSystem.clear_instance_cache()


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder, with pages that list what is in it."""

    def log_message(self, *arguments):
        pass


@contextmanager
def web_server(folder, handler=Quiet):
    """Serve a folder over HTTP, and yield its address."""
    pytest.importorskip("aiohttp", reason="needs aiohttp: pip install 'ecgmtl[test]'")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
