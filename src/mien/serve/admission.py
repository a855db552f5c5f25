"""Who may come in: bounded by pictures and by bytes; whoever is turned away hears when to come back."""

from __future__ import annotations

import math
import random
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from mien.errors import ServeError
from mien.serve.metrics import Metrics

SMOOTHING = 0.05
"""Weight of the newest picture in the moving average of seconds a picture."""

FIRST_GUESS_S = 0.05
"""Seconds a picture, before any was read."""

JITTER = 0.25
"""`Retry-After` is lengthened by up to this share, so that those who were turned away do not all return at once."""


class Overloaded(ServeError):
    """There is no room now. `retry_after_s` is computed from the load."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


@dataclass(slots=True)
class Ticket:
    """What one request holds: pictures, bytes, and how many pictures beyond the room it may come in."""

    pictures: int
    size: int
    beyond: int = 0


class AdmissionGate:
    """Counts what has been let in. Belongs to the event loop; no other thread touches it.

    Args:
        workers: threads that read.
        queue: pictures that may wait beyond those being read.
        queue_bytes: bytes of bodies held at once.
        metrics: where the counts are shown.
    """

    def __init__(self, workers: int, queue: int, queue_bytes: int, metrics: Metrics) -> None:
        self.pictures = self.size = 0
        self.seconds_a_picture = FIRST_GUESS_S
        self._workers, self._queue, self._queue_bytes, self._metrics = workers, queue, queue_bytes, metrics

    @contextmanager
    def admit(self, pictures: int, size: int, *, urgent: bool = False) -> Generator[Ticket]:
        """Let a request in for the block, or not.

        Args:
            pictures: that it brings; as far as it is known.
            size: of its body, bytes; as far as it is known.
            urgent: a camera's frame: one a worker may come where the queue is full of other pictures.

        Raises:
            Overloaded: no room.
        """
        ticket = Ticket(0, 0, self._workers if urgent else 0)
        self.grow(ticket, pictures, size)
        try:
            yield ticket
        finally:
            self._change(ticket, -ticket.pictures, -ticket.size)

    def grow(self, ticket: Ticket, pictures: int = 0, size: int = 0) -> None:
        """Let more of an admitted request in.

        Raises:
            Overloaded: no room for that.
        """
        # Whatever others hold counts against the request; an idle server takes every request that is allowed at all.
        others = self.pictures - ticket.pictures
        room = self._workers + self._queue + ticket.beyond
        if pictures and others and self.pictures + pictures > room:
            self._turn_away("pictures", f"{self.pictures} pictures are waiting, and {room} may")
        if size and self.size > ticket.size and self.size + size > self._queue_bytes:
            self._turn_away("bytes", f"{self.size:,} bytes are waiting, and {self._queue_bytes:,} may")
        self._change(ticket, pictures, size)

    def note(self, seconds: float) -> None:
        """One picture took so long to read."""
        self.seconds_a_picture += SMOOTHING * (seconds - self.seconds_a_picture)

    def retry_after_s(self) -> float:
        """When there is likely room: the time that what waits now will take, and some jitter."""
        wait = self.pictures * self.seconds_a_picture / self._workers
        return wait * (1 + JITTER * random.random())

    def _turn_away(self, reason: str, what: str) -> None:
        self._metrics.rejected.labels(reason).inc()
        retry_s = self.retry_after_s()
        raise Overloaded(f"too much to do: {what}; come back in {max(1, math.ceil(retry_s))} s", retry_s)

    def _change(self, ticket: Ticket, pictures: int, size: int) -> None:
        ticket.pictures += pictures
        ticket.size += size
        self.pictures += pictures
        self.size += size
        self._metrics.queue_pictures.set(self.pictures)
        self._metrics.queue_bytes.set(self.size)
