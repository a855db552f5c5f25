"""Many items, in order, on as many processes as are wanted.

Pictures go to worker processes, a few at a time; each decodes, detects and classifies by itself, and only readings come
back, never pixels. Videos and compressed archives are read here, frame by frame, while the workers go on with the
pictures behind them. A picture whose reading kills its worker (out of memory, a fault in a decoder) becomes a
`Failure`, and the rest go on.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mien.detect import make_detector
from mien.errors import OutputError
from mien.media import WHOLE, Clip, Item, Limits, read_item
from mien.media.limits import USUAL
from mien.model.bundle import load_bundle
from mien.model.prior import Prior
from mien.output.sink import Sink
from mien.pipeline import Recognizer
from mien.records import Failure, Frame, FrameReadings
from mien.signals import starting_processes
from mien.timing import Stopwatch

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor

Numbered = tuple[int, Item]
"""An item, and its number in the run."""

Result = tuple[int, FrameReadings | Failure]
"""What was read in one frame of the item of this number."""

CHUNK = 8
"""Pictures that a worker takes at once: enough that sending them costs nothing."""

AHEAD = 3
"""Chunks under way for each worker: what is held when a slow picture keeps the finished ones waiting."""


@dataclass(frozen=True, slots=True)
class Job:
    """How items are read: everything that a worker process needs to know, sent to it once.

    `drawing` takes each result in the process that read it, while its picture is there. `ahead`: whether frames may be
    taken before their turn; not where one item is live, and whoever stops it wants to keep all that was read.
    """

    model: str
    detector: str
    min_face: float | None = None
    min_score: float | None = None
    detector_model: Path | None = None
    threads: int = 0
    clip: Clip = WHOLE
    detect_every: int = 1
    drawing: Sink | None = None
    ahead: bool = True
    unsealed: bool = False
    answer: str | None = None
    prior: Prior | None = None
    turned: bool = False
    device: str = "auto"
    limits: Limits = USUAL
    full_size: bool = False

    def recognizer(self) -> Recognizer:
        """One that does this job."""
        finder = make_detector(
            self.detector,
            min_face=self.min_face,
            min_score=self.min_score,
            model=self.detector_model,
            turned=self.turned,
            device=self.device,
        )
        model = load_bundle(self.model, unsealed=True) if self.unsealed else self.model
        return Recognizer(
            model, finder, threads=self.threads, answer=self.answer, prior=self.prior, device=self.device,
            max_pixels=self.limits.max_pixels, max_bytes=self.limits.max_bytes, truncated=self.limits.truncated,
            full_size=self.full_size,
        )  # fmt: skip


def read_items(items: Iterable[Numbered], job: Job, recognizer: Recognizer, workers: int = 1) -> Iterator[Result]:
    """Everything in the items, in their order.

    Args:
        items: numbered; decoded as they are reached.
        job: how to read them.
        recognizer: `job.recognizer()`, for what is read in this process; its clock counts what workers spend, too.
        workers: processes; 1 reads everything in this one. More pay off from some hundred pictures on.
    """
    if workers == 1:
        yield from _read_here(items, job, recognizer)
        return
    crew = _WorkerPool(job, recognizer.clock, workers)
    try:
        yield from _read_there(items, job, recognizer, crew)
    finally:
        crew.dismiss()


def _read_here(items: Iterable[Numbered], job: Job, recognizer: Recognizer) -> Iterator[Result]:
    numbers: deque[int] = deque()  # of the frames that the recognizer has taken and not answered yet

    # A drawing needs every pixel anyway.
    reduction = None if job.drawing else recognizer.reduction

    def frames() -> Iterator[Frame | Failure]:
        for number, item in items:
            for frame in read_item(item, limits=recognizer.limits, clip=job.clip, reduction=reduction):
                numbers.append(number)
                yield frame

    decoded = recognizer.clock.over("decode", frames())
    for result in recognizer.read_all(decoded, detect_every=job.detect_every, ahead=job.ahead):
        number = numbers.popleft()
        if job.drawing:
            with recognizer.clock.stage("annotate"):
                result = _drawn(job.drawing, number, result)
        yield number, result


def _drawn(drawing: Sink, number: int, result: FrameReadings | Failure) -> FrameReadings | Failure:
    """The result, once it is drawn; what cannot be written is that picture's failure, and the rest go on."""
    try:
        drawing.add(number, result)
    except OutputError as error:
        source, index = (result.source, result.frame) if isinstance(result, Failure) else _place(result)
        return Failure(source, index, str(error))
    return result


def _place(result: FrameReadings) -> tuple[str, int]:
    return result.frame.source, result.frame.index


def _read_there(items: Iterable[Numbered], job: Job, recognizer: Recognizer, crew: _WorkerPool) -> Iterator[Result]:
    chunks = _chunks(items)
    while True:
        while len(crew.under_way) < crew.workers * AHEAD and (chunk := next(chunks, None)):
            crew.take(chunk)
        if not crew.under_way:
            return
        if _stays_here(crew.under_way[0].chunk[0]):
            yield from _read_here(crew.under_way.popleft().chunk, job, recognizer)
        else:
            yield from crew.next_results()


def _chunks(items: Iterable[Numbered]) -> Iterator[list[Numbered]]:
    chunk: list[Numbered] = []
    for each in items:
        if chunk and (len(chunk) == CHUNK or _stays_here(each) or _stays_here(chunk[0])):
            yield chunk
            chunk = []
        chunk.append(each)
    if chunk:
        yield chunk


def _stays_here(numbered: Numbered) -> bool:
    """Whether to read it in this process: videos and compressed archives are long, and standard input is only here."""
    return not numbered[1].is_picture


# --- the workers ------------------------------------------------------------------------------------------------------

Done = tuple[list[Result], dict[str, float]]
"""Results of a chunk, and the seconds spent on each stage."""


@dataclass(slots=True)
class _Task:
    """A chunk, and its results to come; without a future it is for the main process."""

    chunk: list[Numbered]
    future: Future[Done] | None


class _WorkerPool:
    """Worker processes, and the chunks they work on, in order. Dead workers are replaced."""

    def __init__(self, job: Job, clock: Stopwatch, workers: int) -> None:
        threads = max((job.threads or os.cpu_count() or 1) // workers, 1)
        self.workers = workers
        self.under_way: deque[_Task] = deque()
        self._job, self._clock = replace(job, threads=threads), clock
        self._pool = self._hire()

    def take(self, chunk: list[Numbered]) -> None:
        """Begin with a chunk, unless it is for the main process."""
        self.under_way.append(_Task(chunk, None if _stays_here(chunk[0]) else self._submit(chunk)))

    def next_results(self) -> list[Result]:
        """Wait for the first chunk under way."""
        task = self.under_way.popleft()
        assert task.future
        try:
            return self._keep(task.future.result())
        except BrokenExecutor:
            results = [result for numbered in task.chunk for result in self._alone(numbered)]
            for other in self.under_way:  # what was under way beside it died with it
                if other.future and (not other.future.done() or other.future.exception()):
                    other.future = self._submit(other.chunk)
            return results

    def dismiss(self) -> None:
        """Stop; what is not begun yet is not done."""
        self._pool.shutdown(cancel_futures=True)

    def _alone(self, numbered: Numbered) -> list[Result]:
        number, item = numbered
        try:
            self._restart()
            return self._keep(self._submit([numbered]).result())
        except BrokenExecutor:
            self._restart()
            why = "reading it killed the process that did (out of memory, or a fault in a decoder); it is left out"
            return [(number, Failure(item.source, 0, f"{item.source}: {why}"))]

    def _restart(self) -> None:
        """Take a new pool if this one is broken."""
        try:
            with starting_processes():
                asked = self._pool.submit(os.getpid)
            asked.result()
        except BrokenExecutor:
            self._pool.shutdown()
            self._pool = self._hire()

    def _submit(self, chunk: list[Numbered]) -> Future[Done]:
        with starting_processes():
            return self._pool.submit(_work, chunk)

    def _keep(self, done: Done) -> list[Result]:
        self._clock.add(done[1])
        return done[0]

    def _hire(self) -> ProcessPoolExecutor:
        from concurrent.futures import ProcessPoolExecutor  # late: who reads a few pictures has one process
        from multiprocessing import get_context

        # "spawn" is the one way that works everywhere: a forked process inherits locks of threads that it has not.
        return ProcessPoolExecutor(self.workers, get_context("spawn"), _begin, (self._job,))


_worker: tuple[Job, Recognizer] | None = None


def _begin(job: Job) -> None:
    global _worker
    begin_worker()
    _worker = (job, job.recognizer())


def begin_worker() -> None:
    """In a new process: leave Ctrl-C to the main one, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process ends its workers
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    from multiprocessing import connection, parent_process

    parent = parent_process()
    if parent:
        connection.wait([parent.sentinel])
        os._exit(1)


def _work(chunk: Sequence[Numbered]) -> Done:
    assert _worker
    job, recognizer = _worker
    recognizer.clock.seconds.clear()
    results = [(number, without_pixels(result)) for number, result in _read_here(chunk, job, recognizer)]
    return results, dict(recognizer.clock.seconds)


def without_pixels(result: FrameReadings | Failure) -> FrameReadings | Failure:
    """A result without its picture, as it goes to another process."""
    if isinstance(result, Failure):
        return result
    return replace(result, frame=replace(result.frame, image=None, reduced=None))
