"""A cheap HTTP client that keeps its connections, in a process of its own: one thread, one poll, no library.

It answers for its own cost: `Load.client_s` is the processor time that it took from the server's cores.
"""

from __future__ import annotations

import heapq
import multiprocessing
import re
import resource
import select
import selectors
import socket
import time
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import numpy as np

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
SILENCE_S = 60.0
"""An answer that does not come for so long counts as status 0."""


@dataclass
class Load:
    """What a load saw: statuses, seconds until an answer by status, its own seconds on the clock and the processor."""

    statuses: Counter[int] = field(default_factory=Counter[int])
    seconds: dict[int, list[float]] = field(default_factory=dict[int, list[float]])
    spent_s: float = 0.0
    client_s: float = 0.0

    def p(self, percent: float, status: int = 200) -> float:
        """Percentile of the milliseconds until an answer with this status."""
        return 1000 * float(np.percentile(self.seconds.get(status, [float("nan")]), percent))

    def note(self, status: int, seconds: float) -> None:
        """Count an answer."""
        self.statuses[status] += 1
        self.seconds.setdefault(status, []).append(seconds)


class _Connection:
    """One request at a time; `due` is when it should have been sent."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.due = 0.0
        self.connect()

    def connect(self) -> None:
        self.socket = socket.create_connection(self.address, SILENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""

    def send(self, request: bytes, due: float) -> None:
        self.due, self.received = due, b""
        try:
            if self.closed():
                raise ConnectionResetError
            self.socket.sendall(request)
        except OSError:  # closed meanwhile, as servers do with idle connections
            self.connect()
            self.socket.sendall(request)

    def closed(self) -> bool:
        """Whether the server has ended this connection while it had nothing to do."""
        return bool(select.select([self.socket], [], [], 0)[0])  # an answer is read whole, so only the end can be there

    def receive(self) -> int | None:
        """The status when the whole answer is there; 0 if the connection ended before."""
        try:
            piece = self.socket.recv(262_144)
        except OSError:
            piece = b""
        if not piece:
            return 0
        self.received += piece
        head, gap, body = self.received.partition(b"\r\n\r\n")
        if not gap:
            return None
        length = LENGTH.search(head)
        return int(head[9:12]) if length and len(body) >= int(length[1]) else None


def load(url: str, body: bytes, seconds: float, *, connections: int, rate: float = 0.0, most: int = 0) -> Load:
    """Ask over several connections: as fast as answers come, or at a fixed rate whatever comes.

    Args:
        url: of the server.
        body: a JPEG.
        seconds: how long.
        connections: requests in flight at most.
        rate: requests a second; 0: the next one when an answer is there.
        most: requests in all; 0: as many as there is time for.
    """
    context = multiprocessing.get_context("spawn")
    mine, its = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(its, url, body, seconds, connections, rate, most), daemon=True)
    child.start()
    its.close()
    result: Load = mine.recv()
    child.join()
    return result


def _child(to: multiprocessing.connection.Connection, *arguments: object) -> None:
    to.send(_run(*arguments))  # pyright: ignore[reportArgumentType]


def _run(url: str, body: bytes, seconds: float, connections: int, rate: float, most: int) -> Load:
    where = urlsplit(url)
    head = f"POST /v1/read HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body)}"
    request = head.encode() + b"\r\n\r\n" + body
    seen, selector = Load(), selectors.DefaultSelector()
    idle = [_Connection((where.hostname or "", where.port or 80)) for _ in range(connections)]
    pending = [0.0 if not rate else number / rate for number in range(connections if not rate else 1)]
    sent, flying = 0, 0
    cpu, begun = time.process_time(), time.perf_counter()
    while True:
        now = time.perf_counter() - begun
        open_ = now < seconds and (not most or sent < most)
        while open_ and idle and pending and pending[0] <= now:
            # From when the request was due, so that a slow server is not spared by a load that waits for it.
            due, connection = heapq.heappop(pending), idle.pop()
            connection.send(request, begun + due)
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            sent, flying = sent + 1, flying + 1
            if rate:
                heapq.heappush(pending, due + 1 / rate)
            open_ = not most or sent < most
        if not flying and not open_:
            break
        wait = max(pending[0] - now, 0.0) if open_ and idle and pending else SILENCE_S
        events = selector.select(wait)
        if not events and wait == SILENCE_S:
            seen.note(0, SILENCE_S)
            break
        for key, _ in events:
            connection: _Connection = key.data
            status = connection.receive()
            if status is None:
                continue
            selector.unregister(connection.socket)
            seen.note(status, time.perf_counter() - connection.due)
            if status == 0:
                connection.connect()
            idle.append(connection)
            flying -= 1
            if not rate:
                heapq.heappush(pending, time.perf_counter() - begun)
    seen.spent_s, seen.client_s = time.perf_counter() - begun, time.process_time() - cpu
    return seen


def raise_file_limit() -> None:
    """Allow as many open files as the system lets us."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
