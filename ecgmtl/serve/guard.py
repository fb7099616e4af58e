"""Middleware around the service: who may ask, how much may be sent, and what every response says to the browser."""

import asyncio
import logging
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ecgmtl.serve.connection import SLOWEST

AT_ONCE = 8
"""Number of requests with files that are received or answered at once. Others wait."""
SECONDS_TO_SEND = 60.0
"""Time in which a client must have sent its files."""
GRACE = 5.0
"""Time in seconds that each client has, beside one second for each `SLOWEST` bytes that have arrived."""
NOTHING = "default-src 'none'; frame-ancestors 'none'"
"""Content security policy of a response that is not a page."""
HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
log = logging.getLogger(__name__)


class Guard:
    """Outermost part of the service. An error that nothing else catches is logged by its type, without its text."""

    def __init__(self, app: ASGIApp, request_bytes: int, seconds_to_send: float = SECONDS_TO_SEND) -> None:
        self.app = app
        self.request_bytes, self.seconds_to_send = request_bytes, seconds_to_send
        self.gate = asyncio.Semaphore(AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        response = Response(send)
        try:
            refusal = self.refusal(scope["method"], Headers(scope=scope))
            if refusal is not None:
                await refusal(scope, receive, response.send)
            elif scope["method"] == "POST":
                async with self.gate:
                    await self.app(scope, Body(receive, self.request_bytes, self.seconds_to_send).read, response.send)
            else:
                await self.app(scope, receive, response.send)
        except asyncio.CancelledError:  # the service ends
            if not response.has_started:
                refusal = refuse(503, "The service was stopped before it could answer. Start it, and send it again.")
                await refusal(scope, receive, response.send)
        except Exception as error:  # noqa: BLE001, no request may stop the service, and no text of a file may be logged
            log.error("A request failed by a bug in ecgmtl (%s).", type(error).__name__)  # noqa: TRY400
            if not response.has_started:
                refusal = refuse(500, f"{type(error).__name__}, a bug in ecgmtl.")
                await refusal(scope, receive, response.send)

    def refusal(self, method: str, headers: Headers) -> JSONResponse | None:
        """Return the response to a request that other websites caused, or that is too large."""
        if method not in ("GET", "HEAD") and not is_same_origin(headers):
            return refuse(403, "The request comes from another website.")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self.request_bytes:
            return refuse(413, too_much(self.request_bytes))
        return None


class Response:
    """Response on its way out, which adds headers."""

    def __init__(self, send: Send) -> None:
        self.forward = send
        self.has_started = False

    async def send(self, message: Message) -> None:
        """Send a part of the response."""
        if message["type"] == "http.response.start":
            self.has_started = True
            headers = MutableHeaders(scope=message)
            headers.update(HEADERS)
            headers.setdefault("Content-Security-Policy", NOTHING)
        await self.forward(message)


class Body:
    """Body of a request on its way in, bounded in length and time, whatever its headers promise."""

    def __init__(self, receive: Receive, most_bytes: int, seconds: float) -> None:
        self.receive, self.most_bytes = receive, most_bytes
        self.n_bytes, self.is_complete = 0, False
        self.start, self.seconds = asyncio.get_running_loop().time(), seconds

    @property
    def deadline(self) -> float:
        """Time until which to wait for the next part. It is short for a client that sends almost nothing."""
        return self.start + min(self.seconds, GRACE + self.n_bytes / SLOWEST)

    async def read(self) -> Message:
        """Return the next part.

        Raises:
            HTTPException: the body is too long or too late.
        """
        if self.is_complete:
            return await self.receive()
        try:
            async with asyncio.timeout_at(self.deadline):
                message = await self.receive()
        except TimeoutError:
            raise HTTPException(408, self.too_late()) from None
        self.n_bytes += len(message.get("body", b""))
        self.is_complete = not message.get("more_body", False)
        if self.n_bytes > self.most_bytes:
            raise HTTPException(413, too_much(self.most_bytes))
        return message

    def too_late(self) -> str:
        """Return the reason why the body is not waited for any longer."""
        seconds = asyncio.get_running_loop().time() - self.start
        return (
            f"The files did not arrive in time: {self.n_bytes} bytes in {seconds:.0f} seconds. A client must send at "
            f"least {SLOWEST} bytes a second, and everything in {self.seconds:g} seconds; send fewer files at a time."
        )


def is_same_origin(headers: Headers) -> bool:
    """Return whether a request comes from the service's own page, or from a program, which sends no origin."""
    origin = headers.get("origin")
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    return origin is None or urlsplit(origin).netloc == headers.get("host")


def refuse(status: int, reason: str) -> JSONResponse:
    return JSONResponse({"detail": reason}, status)


def too_much(most_bytes: int) -> str:
    return f"A request may have at most {most_bytes / 1e6:g} MB; send fewer files at a time."
