"""Connection that a client which sends or reads almost nothing cannot hold."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

SECONDS_TO_ASK = 10
"""Time in which a client must have sent the head of a request, and between two looks at a response."""
SLOWEST = 10_000
"""Bytes per second below which a client holds up others."""


class Connection(H11Protocol):
    """Connection that ends if the client neither completes a request nor reads the response.

    Uvicorn would wait for both forever, and refuse others once it has too many connections.
    """

    watch: asyncio.TimerHandle
    seen: tuple[object, bool] = (None, True)
    """Request at the last look, or None if there was none yet, and whether the connection was idle."""
    n_unread: int = 0
    """Bytes of the response that waited for the client at the last look."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to watch the client."""
        super().connection_made(transport)
        self.watch_on()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop watching."""
        self.watch.cancel()
        super().connection_lost(exc)

    def watch_on(self) -> None:
        """Look at the client again after a while."""
        self.watch = self.loop.call_later(SECONDS_TO_ASK, self.look)

    def look(self) -> None:
        """End the connection if the client has done almost nothing since the last look."""
        n_unread = self.transport.get_write_buffer_size()
        is_idle = not n_unread and (self.cycle is None or self.cycle.response_complete)
        now = (self.cycle, is_idle)
        if now == self.seen:
            if 0 < self.n_unread < n_unread + SLOWEST * SECONDS_TO_ASK and n_unread:
                self.transport.abort()
            elif is_idle:
                self.transport.close()
        self.seen, self.n_unread = now, n_unread
        self.watch_on()
