"""A publisher of PTB-XL on this machine, who misbehaves on demand."""

import hashlib
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from data_prep.sources.download import CHECKSUMS


class Publisher(ThreadingHTTPServer):
    """A server of one folder with a list of sums."""

    daemon_threads = True

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.asked = Counter()
        self.faults = {}
        """Fault of each path, or the status of its answer, and how many times it occurs."""
        self.pause = 0.0
        """Seconds before each answer."""

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/files/"

    def write_list(self):
        files = sorted(path for path in self.folder.rglob("*") if path.is_file() and path.name != CHECKSUMS)
        lines = [f"{sha256(path)} {path.relative_to(self.folder).as_posix()}\n" for path in files]
        (self.folder / CHECKSUMS).write_text("".join(lines))
        return [path.relative_to(self.folder).as_posix() for path in files]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        path = self.path.removeprefix("/files/")
        self.server.asked[path] += 1
        time.sleep(self.server.pause)
        fault, times = self.server.faults.get(path, (None, 0))
        if self.server.asked[path] > times:
            fault = None
        file = self.server.folder / path
        if fault == "error" or not file.is_file():
            self.send_error(503 if fault else 404)
            return
        if isinstance(fault, int):
            self.send_error(fault)
            return
        if fault == "elsewhere":
            self.send_response(302)
            self.send_header("Location", "https://example.org/")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = file.read_bytes()
        stated = {"stated too long": len(body) + 7, "stated too short": max(len(body) - 7, 0)}.get(fault, len(body))
        if fault == "altered":
            body = bytes(byte ^ 1 for byte in body)
        if fault == "cut":
            body = body[: len(body) // 2]
        self.send_response(200)
        self.send_header("Content-Length", str(stated))
        self.end_headers()
        self.wfile.write(body)
        if fault:
            self.close_connection = True


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()
