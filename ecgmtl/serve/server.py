"""The server process: its port, its start, and its end by a signal."""

import asyncio
import ipaddress
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import uvicorn
from starlette.types import ASGIApp

from data_prep.errors import UserError
from ecgmtl.serve.connection import Connection

CONNECTIONS = 64
"""Number of open connections from which on further requests are answered with 503."""
SECONDS_TO_STOP = 10
"""Time in which requests that are being answered may end after a signal."""


class ServeError(UserError):
    """An address that cannot be served on."""


class Server(uvicorn.Server):
    """Server that says when it answers, and that ends in order after Ctrl-C, TERM or HUP."""

    def __init__(self, app: ASGIApp, on_start: Callable[[], object]) -> None:
        config = uvicorn.Config(
            app,
            http=Connection,
            log_config=None,
            log_level="warning",
            access_log=False,  # it would name what is asked for
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            ws="none",
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=SECONDS_TO_STOP,
        )
        super().__init__(config)
        self.on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, then report it."""
        await super().startup(sockets)
        self.on_start()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let signals end the server. Uvicorn's own method raises them again, which would not exit with success."""
        names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")  # not all of them on every system
        numbers = [number for name in names if (number := getattr(signal, name, None)) is not None]
        heard = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]  # as by nohup
        before = {number: signal.signal(number, self.handle_exit) for number in heard}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def run(app: ASGIApp, listener: socket.socket, on_start: Callable[[], object]) -> None:
    """Serve until a signal. `on_start` is called once requests are answered."""
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # it quotes bytes of what is sent
    with listener:
        asyncio.run(Server(app, on_start).serve([listener]))


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on the port, or on a free one for 0.

    Raises:
        ServeError: the host is unknown, or the port is taken.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
    except OSError as error:
        raise ServeError(f"host {host}: {error.strerror}. Name an address of this computer.") from error
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        raise ServeError(f"{host}, port {port}: {reason}. 'ecgmtl serve --port 0' chooses a free port.") from error


def is_loopback(host: str) -> bool:
    """Return whether only this computer reaches a host."""
    if host == "localhost":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def address(listener: socket.socket) -> str:
    """Return the address to open in a browser on this computer."""
    host, port = listener.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = "127.0.0.1" if listener.family == socket.AF_INET else "::1"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def hosts_of(host: str, further: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names under which browsers may ask: those of this computer, `host`, and further ones."""
    return ("localhost", "127.0.0.1", "[::1]", "::1", host, f"[{host}]", *further)
