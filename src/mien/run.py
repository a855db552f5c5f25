"""A run of `mien predict`: many items through one recognizer into sinks, with its counts, its resume and its exit code.

```python
from mien.batch import Job
from mien.media import list_items
from mien.run import Run

with Run(list_items(["photos/"]), Job("default", "libface")) as run:
    run.add_rows(Path("faces.csv"))
    run.read()
print(run.counts.faces)
```
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from types import TracebackType

from mien.batch import Job, Numbered, read_items
from mien.media import Item, item_bytes
from mien.output.journal import Position
from mien.output.sink import Sink
from mien.output.writers import ResultWriter, RowStyle, finished, open_writer
from mien.progress import SILENT, Progress
from mien.records import Failure, FrameReadings
from mien.timing import clock_time


@dataclass(slots=True)
class Counts:
    """What a run has done so far, the earlier calls of a resumed one included.

    Attributes:
        pictures: pictures, and frames of videos, that were read.
        faces: faces found in them.
        failed: pictures that could not be read.
        unread: sources not reached, since a live one was stopped by hand.
        copies: files left out as copies of others.
    """

    pictures: int = 0
    faces: int = 0
    failed: int = 0
    unread: int = 0
    copies: int = 0

    def add(self, result: FrameReadings | Failure) -> None:
        """Count one result."""
        if isinstance(result, Failure):
            self.failed += 1
        else:
            self.pictures += 1
            self.faces += len(result.readings)

    @classmethod
    def of(cls, position: Position) -> Counts:
        """What is noted at a position of a run."""
        return cls(position.pictures, position.faces, position.failed, 0, position.copies)

    @property
    def exit_code(self) -> int:
        """0: all was read; 1: some failed or were not reached; 2: nothing could be read."""
        if not (self.failed or self.unread):
            return 0
        return 1 if self.pictures else 2


class Run:
    """Reads items and hands each result to the sinks. A context manager that closes them; use it once.

    Args:
        items: what to read; see `mien.media.list_items`.
        job: how to read it. Frames are not taken ahead of their turn where an item is live.
        workers: processes that read pictures.
        dedupe: leave out files whose bytes have come before.
        sources: the names behind `items` as the user gave them; they are part of what a resumed run must share.
        tell: takes a line about each failure, and about an early stop.

    Attributes:
        recognizer: what reads; its `clock` says where the time went.
        counts: what has been done so far.

    Raises:
        MienError: the model or the detector cannot be used.
    """

    def __init__(
        self,
        items: Sequence[Item],
        job: Job,
        *,
        workers: int = 1,
        dedupe: bool = False,
        sources: Sequence[str] = (),
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.items, self.counts = items, Counts()
        self.is_live = any(item.is_live for item in items)
        self._job = replace(job, ahead=job.ahead and not self.is_live)
        self.recognizer = self._job.recognizer()
        self._workers, self._dedupe, self._sources, self._tell = workers, dedupe, list(sources), tell
        self._sinks: list[Sink] = []
        self._rows: ResultWriter | None = None

    def add_sink(self, sink: Sink) -> None:
        """Send every result to `sink`, after those added before; close it before them."""
        self._sinks.append(sink)

    def add_rows(
        self,
        path: Path,
        *,
        overwrite: bool = False,
        resume: bool = False,
        also: Mapping[str, object] | None = None,
        style: RowStyle | None = None,
    ) -> ResultWriter:
        """Write a row a face to `path`, and keep a journal by which another run can go on.

        Args:
            path: ends in one of `mien.output.writers.SUFFIXES`.
            overwrite: replace what is there.
            resume: go on where an unfinished run has stopped: its items are not read again.
            also: more that a resumed run must share with the first, ready for JSON.
            style: which rows there are, and how their cells are written.

        Raises:
            OutputError: see `mien.output.writers.open_writer`.
        """
        about = None if self.is_live else self._about(also, style)
        classes = self.recognizer.classes
        writer = open_writer(path, classes, overwrite=overwrite, run=about, resume=resume, style=style)
        if writer.damage:
            self._tell(writer.damage)
        self._rows, self.counts = writer, Counts.of(writer.begun)
        self.add_sink(writer)
        return writer

    def is_finished(
        self, path: Path, *, also: Mapping[str, object] | None = None, style: RowStyle | None = None
    ) -> bool:
        """Whether this very run has been finished into `path` before; `counts` then says what it came to.

        Args:
            path: see `add_rows`.
            also: see `add_rows`.
            style: see `add_rows`.

        Raises:
            OutputError: see `mien.output.writers.finished`.
        """
        position = None if self.is_live else finished(path, self._about(also, style))
        if position is not None:
            self.counts = Counts.of(position)
        return position is not None

    def add_drawing(self, sink: Sink) -> None:
        """Send every result to `sink` while its picture is there, in the process that read it; close it at the end.

        The sink is sent to worker processes: its `add` must not need what another call of it has left behind, but for
        the frames of one video.
        """
        self._job = replace(self._job, drawing=sink)

    def read(self, progress: Progress = SILENT) -> Counts:
        """Read everything. Ctrl-C while a live source is read ends it in good order.

        Raises:
            OutputError: a sink cannot be written to.
        """
        begun = self._rows.begun if self._rows else Position()
        numbered = islice(enumerate(self.items), begun.items, None)
        copies = _CopyFilter(numbered, self._rows.seen if self._rows else ()) if self._dedupe else None
        at = begun.items
        speed = _Speed(len(self.items), progress, begun)
        speed.reached(at, None, self.counts)
        try:
            for at, result in read_items(copies or numbered, self._job, self.recognizer, self._workers):
                self._note_done(at, copies)
                self._take(at, result)
                speed.reached(at, result, self.counts)
            self._note_done(len(self.items), copies)
        except KeyboardInterrupt:
            if not self.items[at].is_live:
                raise
            self.counts.unread = len(self.items) - 1 - at
            self._tell("stopped; what has been read so far is kept")
        return self.counts

    def _note_done(self, items: int, copies: _CopyFilter | None) -> None:
        """The items before `items` are done: their copies are counted, and all is noted to go on from."""
        left_out, seen = copies.before(items) if copies else (0, [])
        self.counts.copies += left_out
        if self._rows and items > self._rows.items:
            self._rows.done(items, left_out, seen)

    def _take(self, item: int, result: FrameReadings | Failure) -> None:
        self.counts.add(result)
        if isinstance(result, Failure):
            self._tell(result.message)
        elif result.frame.note and not result.frame.index:
            self._tell(f"{result.frame.source}: {result.frame.note}")
        with self.recognizer.clock.stage("write"):
            for sink in self._sinks:
                sink.add(item, result)

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        first = error
        sinks = [*self._sinks, *([self._job.drawing] if self._job.drawing else [])]
        for sink in reversed(sinks):
            try:
                sink.close(error)
            except BaseException as problem:  # noqa: PERF203 - the others must hear of it
                error = error or problem
        if first is None and error is not None:
            raise error

    def _about(self, also: Mapping[str, object] | None, style: RowStyle | None) -> dict[str, object]:
        """What the rows of this run follow from."""
        names = hashlib.sha256("\0".join(item.source for item in self.items).encode("utf-8", "surrogateescape"))
        job, session = self._job, self.recognizer.session
        return {
            "sources": self._sources,
            "items": len(self.items),
            "items_sha256": names.hexdigest(),
            "model": session.manifest.name,
            "model_sha256": hashlib.sha256(session.bundle.model).hexdigest(),
            "answer": session.answer.name,
            "prior": str(session.prior),
            "detector": job.detector,
            "min_face": job.min_face,
            "min_score": job.min_score,
            "detector_model": str(job.detector_model or ""),
            "clip": [job.clip.start_s, job.clip.end_s, job.clip.every_s],
            "detect_every": job.detect_every,
            "turned": job.turned,
            "device": job.device,
            "full_size": job.full_size,
            "dedupe": self._dedupe,
            **asdict(style or RowStyle()),
            "limits": [job.limits.max_pixels, job.limits.max_bytes, job.limits.truncated],
            **(also or {}),
        }


class _Speed:
    """Tells a `Progress` which item is being read, and how fast it goes."""

    def __init__(self, total: int, progress: Progress, begun: Position) -> None:
        self._total, self._progress, self._before = total, progress, begun.pictures
        self._started = time.monotonic()

    def reached(self, item: int, result: FrameReadings | Failure | None, counts: Counts) -> None:
        note = ""
        if result is not None:
            time_s = None if isinstance(result, Failure) else result.frame.time_s
            speed = (counts.pictures - self._before) / max(time.monotonic() - self._started, 1e-3)
            at = "" if time_s is None else f"at {clock_time(time_s, 1)}, "
            note = f"{at}{speed:.1f} pictures/s, {counts.faces} faces"
        self._progress.update("reading", item, self._total, note)


class _CopyFilter:
    """Items whose bytes have not come before. Holds 16 bytes an item, and a little more of those under way.

    Args:
        items: numbered.
        known: digests of files that came before these items.
    """

    def __init__(self, items: Iterable[Numbered], known: Iterable[str]) -> None:
        self._items = items
        self._known = {bytes.fromhex(digest) for digest in known}
        self._under_way: deque[tuple[int, bytes | None]] = deque()  # None: a copy

    def __iter__(self) -> Iterator[Numbered]:
        for number, item in self._items:
            data = item_bytes(item)
            if data is not None:
                digest = hashlib.blake2b(data, digest_size=16).digest()
                is_copy = digest in self._known
                self._under_way.append((number, None if is_copy else digest))
                if is_copy:
                    continue
                self._known.add(digest)
            yield number, item

    def before(self, item: int) -> tuple[int, list[str]]:
        """What is not told yet of the items before this one: how many were copies, and the digests of the others."""
        copies, seen = 0, list[str]()
        while self._under_way and self._under_way[0][0] < item:
            _, digest = self._under_way.popleft()
            if digest is None:
                copies += 1
            else:
                seen.append(digest.hex())
        return copies, seen
