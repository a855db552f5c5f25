"""The one thread that reads frames ahead: it waits for its reader, or keeps only the newest of what is live."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

from mien.records import Failure, Frame

LEAVE_S = 1.0
"""How long to wait for the reading thread at the end: one that hangs in a library or on a network is left behind."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What has come, and when by the clock, in seconds."""

    item: Frame | Failure
    at_s: float


def never() -> bool:
    """For `FrameThread`: no frame may be left out."""
    return False


class FrameThread:
    """Reads frames in a thread of its own and holds the next few; iterate over it, or ask with `take`.

    Failures are never left out, and the order is kept.

    Args:
        items: read, and closed, in the thread.
        keep: so many frames wait at most.
        drop: whether the oldest frame makes way for a new one; else the thread waits until there is room (`never`).
        clock: seconds, that never go back.
        stop: called before the thread is waited for, to end a wait in `items`.
        leave_s: how long to wait for the thread at the end; None: until it ends, as where it uses what is closed then.

    Attributes:
        arrived, dropped: how many frames have come, and how many of these were left out.
        ended: nothing more will come: `items` has ended, and all of it is taken.
    """

    def __init__(
        self,
        items: Generator[Frame | Failure],
        *,
        keep: int = 1,
        drop: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.monotonic,
        stop: Callable[[], None] = lambda: None,
        leave_s: float | None = LEAVE_S,
    ) -> None:
        self.arrived = self.dropped = 0
        self._items, self._keep, self._drop, self._clock, self._stop = items, keep, drop, clock, stop
        self._leave_s = leave_s
        self._waiting: deque[Arrival] = deque()
        self._changed = threading.Condition()
        self._closed = self._over = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="read frames", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether the source ended by itself, without an error, and everything that came is taken."""
        with self._changed:
            return self._over and not self._waiting and self._error is None

    def take(self, timeout_s: float | None = None) -> Arrival | None:
        """The oldest that waits; None if nothing came in time, or nothing will.

        Raises:
            BaseException: what `items` has raised, once all before it is taken.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._over, timeout_s)
            if self._waiting:
                self._changed.notify_all()
                return self._waiting.popleft()
            if self._over and self._error is not None:
                error, self._error = self._error, None
                raise error
            return None

    def __iter__(self) -> Iterator[Frame | Failure]:
        while not self.ended:
            arrival = self.take(0.5)  # with a limit, Ctrl-C is heard on every system
            if arrival:
                yield arrival.item

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._stop()
        self._thread.join(self._leave_s)

    def _work(self) -> None:
        try:
            for item in self._items:
                if not self._put(Arrival(item, self._clock())):
                    break
            self._items.close()
        except BaseException as error:  # whatever it is belongs to the reader
            self._error = error
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def _put(self, arrival: Arrival) -> bool:
        with self._changed:
            is_frame = isinstance(arrival.item, Frame)
            self.arrived += is_frame
            while not self._closed:
                if self._drop():
                    if not is_frame or self._frames() < self._keep:
                        break
                    self._waiting.remove(next(each for each in self._waiting if isinstance(each.item, Frame)))
                    self.dropped += 1
                elif len(self._waiting) < self._keep:
                    break
                else:
                    self._changed.wait()
            if not self._closed:
                self._waiting.append(arrival)
                self._changed.notify_all()
            return not self._closed

    def _frames(self) -> int:
        return sum(isinstance(each.item, Frame) for each in self._waiting)
