"""Where the time goes, and how a time is written."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class Stopwatch:
    """Adds up the seconds that each stage of a run takes."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def stage(self, name: str) -> Generator[None]:
        """Count what happens inside the with-block as `name`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - started

    def add(self, seconds: dict[str, float]) -> None:
        """Count what another stopwatch, in another process, has counted."""
        for name, spent in seconds.items():
            self.seconds[name] += spent

    def over(self, name: str, items: Iterable[T]) -> Iterator[T]:
        """Hand on the items; making them counts as `name`, what is done with them does not."""
        iterator = iter(items)
        while True:
            with self.stage(name):
                item = next(iterator, self)
            if item is self:
                return
            yield item  # pyright: ignore[reportReturnType] - it is not self


def clock_time(time_s: float, digits: int = 0) -> str:
    """A time as 1:30, or 1:02:03, with so many decimals of its seconds."""
    whole = round(time_s * 10**digits)
    minutes, rest = divmod(whole, 60 * 10**digits)
    seconds = f"{rest / 10**digits:0{3 + digits if digits else 2}.{digits}f}"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds}" if hours else f"{minutes}:{seconds}"
