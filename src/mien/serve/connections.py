"""Connections that say nothing, or too slowly: they are closed, and they never keep others out."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

HEADER_S = 10.0
"""The headers of a request must have arrived so long after the connection, or after their first byte."""

LINGER_S = 5.0
"""How long a client may go on sending a refused body before the connection is closed."""

MOST = 4000
"""Connections at once; for a new one beyond that, the one that has been idle longest is closed."""

MOST_HEADER_BYTES = 64 * 2**10
"""Bytes that a client may send at a stretch which are of no body: headers, trailers, and what stands between chunks."""

SPARE_FILES = 100
"""File descriptors left for everything else."""


def raise_file_limit() -> int:
    """Allow as many open files as the system lets us; return how many connections fit."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return MOST
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return MOST if soft == resource.RLIM_INFINITY else max(min(MOST, soft - SPARE_FILES), 16)


def patient_protocol(most: int, header_s: float = HEADER_S, linger_s: float = LINGER_S) -> type[HttpToolsProtocol]:
    """uvicorn's protocol on httptools, with an end to waiting and to headers.

    Args:
        most: connections at once.
        header_s, linger_s: see `HEADER_S` and `LINGER_S`.
    """
    idle: dict[HttpToolsProtocol, None] = {}  # those without a request, the longest idle first

    class PatientProtocol(HttpToolsProtocol):
        _timer: asyncio.TimerHandle | None = None
        _overhead = 0  # bytes since the last one of a body, or since the last request ended

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > most and idle:
                oldest = next(iter(idle))
                del idle[oldest]
                oldest.transport.abort()
            self._idle(header_s)

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_timer()
            idle.pop(self, None)
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            self._overhead += len(data)
            super().data_received(data)
            if self._overhead > MOST_HEADER_BYTES and not self.transport.is_closing():
                self.send_400_response("The headers are too long.")
            if self._is_answering():
                self._stop_timer()
                idle.pop(self, None)
            elif self._timer is None and not self.transport.is_closing():
                self._idle(header_s)  # the next request on this connection has begun, or garbage

        def on_body(self, body: bytes) -> None:
            self._overhead = 0
            super().on_body(body)

        def on_message_complete(self) -> None:
            self._overhead = 0
            super().on_message_complete()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.transport.is_closing() or self._is_answering():  # the next request had come already
                return
            if self.cycle.more_body:
                self._idle(linger_s)
            else:
                self._stop_timer()  # uvicorn's own timer closes a connection that is kept alive for nothing
                idle[self] = None

        def _is_answering(self) -> bool:
            cycle = cast(RequestResponseCycle | None, self.cycle)  # None before the first request
            return cycle is not None and not cycle.response_complete

        def _idle(self, seconds: float) -> None:
            self._stop_timer()
            idle[self] = None
            self._timer = self.loop.call_later(seconds, self.transport.abort)

        def _stop_timer(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    return PatientProtocol
