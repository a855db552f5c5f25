"""Threads that read pictures. Frames of a camera go before pictures that came a little earlier."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")

HEAD_START_S = 2.0
"""An urgent job goes before every other one that came at most so long before it; so none of those waits for ever."""


@dataclass(order=True, slots=True)
class _Job:
    due: float
    number: int
    work: Callable[[], Any] | None = field(compare=False)
    future: Future[Any] = field(compare=False)

    def run(self) -> None:
        """Do the work, unless nobody wants it any more."""
        if self.work is None or not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self.work()
        except BaseException as error:  # whoever waits for the result gets it
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


class WorkerPool:
    """A fixed number of threads and one queue, by time and urgency.

    Args:
        workers: how many threads.
    """

    def __init__(self, workers: int) -> None:
        self._jobs: queue.PriorityQueue[_Job] = queue.PriorityQueue()
        self._numbers = itertools.count()
        self._open = True
        self._threads = [
            threading.Thread(target=self._work, name=f"mien-worker_{index}", daemon=True) for index in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, work: Callable[[], T], *, urgent: bool = False) -> Future[T]:
        """Run something in a worker when its turn comes.

        Raises:
            RuntimeError: the pool is shut down.
        """
        if not self._open:
            raise RuntimeError("the workers are gone")
        future: Future[T] = Future()
        due = time.monotonic() - (HEAD_START_S if urgent else 0.0)
        self._jobs.put(_Job(due, next(self._numbers), work, future))
        return future

    def shutdown(self) -> None:
        """Finish what has begun, cancel what waits, and end the threads."""
        self._open = False
        with suppress(queue.Empty):
            while True:
                self._jobs.get_nowait().future.cancel()
        for _ in self._threads:
            self._jobs.put(_Job(float("inf"), next(self._numbers), None, Future()))
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()).work is not None:
            job.run()
            del job  # nothing of a finished job, its picture least of all, is kept until the next one comes
