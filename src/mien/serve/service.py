"""The heart of the server: slots, workers and the gate. The event loop decides; threads compute."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from mien.errors import MienError, ServeError
from mien.model.prior import as_prior
from mien.serve.admission import AdmissionGate
from mien.serve.metrics import Metrics
from mien.serve.options import ServeOptions
from mien.serve.problems import ClientGone, RequestProblem, too_late
from mien.serve.read_options import ReadOptions
from mien.serve.reader import DetectorChoice, Picture, PictureResult
from mien.serve.serving import Serving, load_serving
from mien.serve.slot import RefusedVersion, Slot
from mien.serve.sources import FileSource, RegistrySource, Source
from mien.serve.workers import WorkerPool

if TYPE_CHECKING:
    from mien.registry import Registry

T = TypeVar("T")
Gone = Callable[[], Awaitable[None]]
"""Returns when the client has closed the connection."""

DONE, GONE, LATE = "done", "client gone", "deadline"
"""Why the wait for jobs ends; the latter two are reasons in `mien_rejected_total`."""

_log = logging.getLogger("mien.serve")


class SwapInProgress(ServeError):
    """Another swap is going on; one at a time."""


@dataclass(frozen=True, slots=True)
class RequestResult:
    """What a request gets: which version read its pictures, how, and what it read."""

    serving: Serving
    wish: ReadOptions
    pictures: tuple[PictureResult, ...]


class Service:
    """Everything that requests share. Create it, `start` it in the event loop, `stop` it at the end.

    Attributes:
        slots: the models by name, the first one answers unless a request names another.
        state: `starting`, `ready` or `draining`.
        problem: why it cannot start; "" otherwise.
    """

    def __init__(self, options: ServeOptions) -> None:
        self.options, self.metrics = options, Metrics()
        workers = options.worker_count
        self.gate = AdmissionGate(workers, options.queue_pictures, options.queue_bytes, self.metrics)
        self.slots: dict[str, Slot] = {}
        self.state = "starting"
        self.registry: Registry | None = None
        self._pool = WorkerPool(workers)
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="mien-loader")
        self._busy = False
        self._poller: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Load the models; then the service is ready.

        Raises:
            MienError: a model cannot serve.
        """
        await self.in_loader(self._open)
        self.state = "ready"
        if any(slot.source.follows for slot in self.slots.values()):
            self._poller = asyncio.create_task(self._poll())

    async def stop(self) -> None:
        """Let go of everything; what still runs is finished first."""
        self.state = "draining"
        if self._poller:
            self._poller.cancel()
        await asyncio.to_thread(self._close)

    def slot(self, name: str = "") -> Slot:
        """The model of a name; the first one for "".

        Raises:
            RequestProblem: 404, there is no such model; 503, none is ready.
        """
        if not self.slots:
            raise RequestProblem(503, "the server is starting; it is not ready yet")
        if not name:
            return next(iter(self.slots.values()))
        if name not in self.slots:
            raise RequestProblem(404, f"no model called {name!r} here; there is {', '.join(self.slots)}")
        return self.slots[name]

    def choose(self, model: str, key: str) -> tuple[Slot, Serving]:
        """The slot and the version for a request that names `NAME`, `NAME@VERSION` or nothing.

        Raises:
            RequestProblem: 404, there is none.
        """
        name, _, number = model.partition("@")
        slot = self.slot(name)
        if not number:
            return slot, slot.choose(key)
        try:
            return slot, slot.version(int(number))
        except (ValueError, ServeError) as error:
            raise RequestProblem(404, str(error) if number.isdecimal() else f"{model}: expected NAME@3") from None

    async def read(
        self,
        slot: Slot,
        serving: Serving,
        pictures: Sequence[Picture],
        wish: ReadOptions,
        gone: Gone,
        deadline: float,
        *,
        urgent: bool = False,
    ) -> RequestResult:
        """Read pictures, each in a worker of its own.

        Args:
            slot, serving: from `choose`.
            pictures, wish: what to read, and how.
            gone: tells that nobody waits any more.
            deadline: of `time.monotonic`; a picture that has not begun by then is not read.
            urgent: a camera's frame goes before other pictures; see `WorkerPool`.

        Raises:
            RequestProblem: 504, too late.
            ClientGone: nobody waits.
        """
        jobs = [partial(self._read_one, slot, serving, picture, wish, time.perf_counter()) for picture in pictures]
        results = await self.compute(jobs, gone, deadline, after=partial(_show_shadow, slot, wish), urgent=urgent)
        canary = slot.canary
        if canary and (why := canary.verdict()):
            self._stop_canary(slot, why)
        if serving is not slot.production and any(result.ours for result in results):
            # A canary's faults are not the clients': production answers.
            return await self.read(slot, slot.production, pictures, wish, gone, deadline, urgent=urgent)
        return RequestResult(serving, wish, tuple(results))

    async def compute(
        self,
        jobs: Sequence[Callable[[], T]],
        gone: Gone,
        deadline: float,
        after: Callable[[Future[T]], None] | None = None,
        *,
        urgent: bool = False,
    ) -> list[T]:
        """Run jobs in the workers, and wait for all of them, for the deadline, or for the client to go away.

        Args:
            jobs: each runs in one worker.
            gone, deadline: see `read`.
            after: called in the worker with each finished job, once its result was handed over.
            urgent: see `read`.

        Raises:
            RequestProblem: 504, too late.
            ClientGone: nobody waits.
        """
        late = partial(_unless_late, deadline=deadline, timeout_s=self.options.timeout_s)
        end = _End(len(jobs))
        futures = [self._pool.submit(partial(late, job), urgent=urgent) for job in jobs]
        for future in futures:
            future.add_done_callback(end.note_done)
            if after:
                future.add_done_callback(after)
        watching = asyncio.ensure_future(gone())
        watching.add_done_callback(end.note_gone)
        timer = end.loop.call_later(max(deadline - time.monotonic(), 0), end.set, LATE)
        try:
            why = await end.reached
        finally:
            timer.cancel()
            watching.cancel()
            for future in futures:
                future.cancel()  # what a worker has begun is finished, what waits is not begun
        if why == DONE:
            return [future.result() for future in futures]
        self.metrics.rejected.labels(why).inc()
        if why == GONE:
            raise ClientGone("the client is gone")
        raise too_late(self.options.timeout_s)

    async def in_loader(self, work: Callable[[], T]) -> T:
        """Run work that loads or decides in the loader thread, one piece at a time.

        Raises:
            Busy: there is one already.
        """
        if self._busy:
            raise SwapInProgress("another version is being loaded; one at a time, try again in a second")
        self._busy = True
        try:
            return await asyncio.get_running_loop().run_in_executor(self._loader, work)
        finally:
            self._busy = False

    async def refresh(self, *, again: bool = False) -> list[RefusedVersion]:
        """Do as files and registry say now; see `Slot.refresh`."""
        return await self.in_loader(lambda: [r for slot in self.slots.values() for r in slot.refresh(again=again)])

    def _open(self) -> None:
        options = self.options
        choice = DetectorChoice(options.detector, options.min_face, options.min_score, options.turned, options.device)
        load = partial(
            load_serving, workers=options.worker_count, detector=choice, max_pixels=options.max_pixels,
            answer=options.answer, prior=as_prior(options.prior, options.prior_strength),
        )  # fmt: skip
        for model in options.models:
            slot = Slot(self._source(model), lambda b, n, v: load(b, n, v), self.metrics)
            if slot.name in self.slots:
                raise ServeError(f"two models are called {slot.name!r}; give one of them another name in the registry")
            self.slots[slot.name] = slot

    def _source(self, model: str) -> Source:
        from pathlib import Path

        if "@" not in model or Path(model).exists():
            return FileSource(model, unsealed=self.options.unsealed)
        return RegistrySource(self.open_registry(), model)

    def open_registry(self) -> Registry:
        """The registry, opened when first wanted.

        Raises:
            RegistryError: it cannot be opened.
        """
        if self.registry is None:
            from mien.registry import open_registry

            self.registry = open_registry(self.options.registry, self.options.files)
            self.metrics.registry_up.set(1)
        return self.registry

    async def _poll(self) -> None:
        told = ""
        while True:
            await asyncio.sleep(self.options.poll_s)
            try:
                await self.refresh()
                self.metrics.registry_up.set(1)
                told = ""
            except SwapInProgress:
                continue
            except MienError as error:  # what serves goes on serving
                self.metrics.registry_up.set(0)
                if str(error) != told:
                    _log.error("%s; what serves goes on", error)
                told = str(error)
            except Exception:
                _log.exception("following the registry failed; what serves goes on")

    def _read_one(
        self, slot: Slot, serving: Serving, picture: Picture, wish: ReadOptions, submitted: float
    ) -> PictureResult:
        started = time.perf_counter()
        with serving.reader() as reader:
            result = reader.read(picture, wish)
        spent = time.perf_counter() - started
        result.seconds["wait"] = started - submitted
        if canary := slot.canary:
            canary.note(serving, spent, failed=result.ours)
        self._count(serving, result)
        return result

    def _count(self, serving: Serving, result: PictureResult) -> None:
        metrics, version = self.metrics, str(serving.version)
        for stage, seconds in result.seconds.items():
            metrics.stage.labels(stage).observe(seconds)
        outcome = "read" if result.error is None else "failed" if result.ours else "refused"
        metrics.pictures.labels(outcome).inc()
        for frame in result.readings:
            for reading in frame.readings:
                metrics.faces.labels(version, reading.expression.label).inc()
                metrics.confidence.labels(version).observe(reading.expression.confidence)

    def _stop_canary(self, slot: Slot, why: str) -> None:
        canary = slot.canary
        if canary is None:
            return
        version = canary.serving.version
        slot.drop_canary()
        slot.refusals["canary"] = RefusedVersion("canary", version, f"stopped: {why}")
        self.metrics.canary_stops.inc()
        _log.error("%s: canary %d stopped: %s", slot.name, version, why)
        if isinstance(slot.source, RegistrySource):
            self._loader.submit(_end_alias, slot.source, why)

    def _close(self) -> None:
        self._loader.shutdown(cancel_futures=True)
        self._pool.shutdown()
        for slot in self.slots.values():
            slot.close()
        if self.registry:
            self.registry.close()


class _End:
    """What ends the wait for some jobs, whichever comes first. One turn of the loop when the last job is done.

    `asyncio.gather` and `asyncio.wait` take four turns for that, and in each the loop may wait for the interpreter lock
    that a worker holds.
    """

    def __init__(self, jobs: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.reached: asyncio.Future[str] = self.loop.create_future()
        self._jobs = jobs
        if not jobs:
            self.set(DONE)

    def set(self, why: str) -> None:
        if not self.reached.done():
            self.reached.set_result(why)

    def note_done(self, _: Future[Any]) -> None:
        """Of a job; runs in its worker."""
        with suppress(RuntimeError):  # the loop is closed, and nobody waits
            self.loop.call_soon_threadsafe(self._count)

    def note_gone(self, watching: asyncio.Future[None]) -> None:
        if not watching.cancelled() and not watching.exception():
            self.set(GONE)

    def _count(self) -> None:
        self._jobs -= 1
        if not self._jobs:
            self.set(DONE)


def _unless_late(job: Callable[[], T], deadline: float, timeout_s: float) -> T:
    if time.monotonic() > deadline:
        raise too_late(timeout_s)
    return job()


def _show_shadow(slot: Slot, wish: ReadOptions, future: Future[PictureResult]) -> None:
    """Runs in the worker after the answer was handed over, so that no answer waits for the shadow."""
    if future.cancelled() or future.exception():
        return
    result, shadow = future.result(), slot.shadow
    readings, result.readings = result.readings, []
    if shadow:
        try:
            shadow.see(readings, wish)
        except Exception:
            _log.exception("the shadow could not take a picture")


def _end_alias(source: RegistrySource, why: str) -> None:
    try:
        source.registry.stop(source.name, "canary", why=why, who="mien serve")
    except MienError as error:
        _log.error("the canary stopped here, but the registry was not told: %s", error)
