"""A camera, stream or video as it comes -> what each face shows now. The newest frame is read, others are dropped."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

from mien.errors import MediaError
from mien.media import Clip, list_items, read_item
from mien.media.frame_thread import FrameThread
from mien.media.limits import USUAL, Limits
from mien.media.stream_reader import StreamReader
from mien.pipeline import Recognizer
from mien.records import Failure, Frame, FrameReadings, Reading
from mien.temporal.episodes import Episode, EpisodeFinder
from mien.temporal.smoothing import ReadingSmoother

GONE_S = 1.0
"""A face unseen for so long is gone: the tracker's patience."""

RECENT_S = 2.0
"""Rate and latency are those of the last so many seconds."""

IDLE_S = 0.1
"""How long a wait for a frame lasts before what else there is to do gets its turn."""

Clock = Callable[[], float]
Wait = Callable[[float], object]


@dataclass(frozen=True, slots=True)
class ShownExpression:
    """What a face shows now: `label` with a smoothed `probability`, 0..1, since `since_s` (None: not for certain)."""

    track: int
    label: str
    probability: float
    since_s: float | None


@dataclass(frozen=True, slots=True)
class LiveFrame:
    """One frame, read.

    Attributes:
        result: the readings as they are: measure with these.
        readings: the same, smoothed for display.
        faces: what each shows now, by track.
        gone: tracks that have ended since the last moment.
        latency_s: from the frame's arrival to here, seconds.
    """

    result: FrameReadings
    readings: tuple[Reading, ...]
    faces: tuple[ShownExpression, ...]
    gone: tuple[int, ...]
    latency_s: float


@dataclass(frozen=True, slots=True)
class ExpressionTotal:
    """How long and how often an expression was shown, by all faces together, and by how many of them."""

    label: str
    seconds: float
    episodes: int
    faces: int


class Live:
    """Reads what comes, until it ends; use it once.

    Args:
        recognizer: what finds faces and reads them.
        newest: where frames come from; see `open_live`.
        detect_every: look for faces in every n-th frame that is read, and go by their motion between.
        seconds: end so long after the first frame, whatever comes; None: with the source.
        clock: that of `newest`.
        idle: called about ten times a second while no frame comes; false ends it.

    Attributes:
        frames, faces: how many have been read, and how many tracks there were.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        newest: FrameThread,
        *,
        detect_every: int = 1,
        seconds: float | None = None,
        clock: Clock = time.monotonic,
        idle: Callable[[], bool] = lambda: True,
    ) -> None:
        self.frames = self.faces = 0
        self._recognizer, self._newest = recognizer, newest
        self._detect_every, self._seconds, self._clock, self._idle = detect_every, seconds, clock, idle
        self._steady, self._finder = ReadingSmoother(), EpisodeFinder()
        self._seen: dict[int, float] = {}
        self._recent: deque[tuple[float, float]] = deque()
        self._first_s: float | None = None
        self._arrived_s = 0.0
        self._spent: defaultdict[str, float] = defaultdict(float)
        self._episodes: Counter[str] = Counter()
        self._showers: Counter[str] = Counter()  # of a label: tracks
        self._labels: dict[int, set[str]] = {}  # of a track that goes on: what it has shown

    @property
    def rate(self) -> float:
        """Frames read a second, of late; 0 before the second."""
        spent_s = self._recent[-1][0] - self._recent[0][0] if self._recent else 0.0
        return (len(self._recent) - 1) / spent_s if spent_s > 0 else 0.0

    @property
    def latency_s(self) -> float:
        """From a frame's arrival to its reading, seconds, on average of late."""
        return sum(latency_s for _, latency_s in self._recent) / len(self._recent) if self._recent else 0.0

    @property
    def dropped(self) -> int:
        """Frames that had to make way for newer ones."""
        return self._newest.dropped

    @property
    def quiet_s(self) -> float:
        """Seconds since the last frame was read; 0 before the first."""
        return self._clock() - self._recent[-1][0] if self._recent else 0.0

    def run(self) -> Iterator[LiveFrame | Failure]:
        """What is read, as it is.

        Raises:
            MediaError: the source cannot be opened.
        """
        frames, every = self._frames(), self._detect_every
        for result in self._recognizer.read_all(frames, detect_every=every, ahead=False):
            yield result if isinstance(result, Failure) else self._moment(result)

    def finish(self) -> list[ExpressionTotal]:
        """Finish, and return how long each expression was shown, the longest first."""
        for track in list(self._seen):
            self._end(track)
        totals = [
            ExpressionTotal(label, s, self._episodes[label], self._showers[label]) for label, s in self._spent.items()
        ]
        return sorted(totals, key=lambda total: (-total.seconds, total.label))

    def _frames(self) -> Iterator[Frame | Failure]:
        while not self._newest.ended:
            arrival = self._newest.take(IDLE_S)
            if self._over():
                return
            if arrival is None:
                if not self._idle():
                    return
                continue
            if self._first_s is None and isinstance(arrival.item, Frame):
                self._first_s = arrival.at_s
            self._arrived_s = arrival.at_s
            yield arrival.item

    def _over(self) -> bool:
        if self._seconds is None or self._first_s is None:
            return False
        return self._clock() - self._first_s >= self._seconds

    def _moment(self, result: FrameReadings) -> LiveFrame:
        now_s, time_s = self._clock(), result.frame.time_s or 0.0
        self.frames += 1
        self._recent.append((now_s, now_s - self._arrived_s))
        while now_s - self._recent[0][0] > RECENT_S:
            self._recent.popleft()
        gone = tuple(track for track, seen_s in self._seen.items() if time_s - seen_s > GONE_S)
        for track in gone:
            self._end(track)
        readings = self._steady.update(result)
        faces = [self._shown(reading, time_s) for reading in readings if reading.track is not None]
        faces.sort(key=lambda face: face.track)
        return LiveFrame(result, readings, tuple(faces), gone, now_s - self._arrived_s)

    def _shown(self, reading: Reading, time_s: float) -> ShownExpression:
        track, probabilities = reading.track or 0, reading.expression.as_dict()
        self.faces = max(self.faces, track)
        self._seen[track] = time_s
        self._keep(self._finder.update(track, time_s, probabilities))
        label, since_s = self._finder.showing(track) or (reading.expression.label, None)
        return ShownExpression(track, label, probabilities[label], since_s)

    def _end(self, track: int) -> None:
        self._keep(self._finder.end(track))
        self._steady.forget(track)
        self._seen.pop(track)
        self._labels.pop(track, None)

    def _keep(self, episodes: list[Episode]) -> None:
        for episode in episodes:
            self._spent[episode.label] += episode.end_s - episode.start_s
            self._episodes[episode.label] += 1
            labels = self._labels.setdefault(episode.track, set())
            self._showers[episode.label] += episode.label not in labels
            labels.add(episode.label)


def open_live(
    source: str, *, seconds: float | None = None, clock: Clock = time.monotonic, limits: Limits = USUAL
) -> FrameThread:
    """Begin to read a source; only the newest frame waits. A recording is played at its own pace.

    Args:
        source: a camera or stream, see `mien.media.stream_address`, or a video file.
        seconds: end after so many seconds of it.
        clock: seconds, that never go back.
        limits: a larger frame is refused.

    Raises:
        MediaError: another source than these.
    """
    items = list_items([source])
    if len(items) != 1 or (items[0].path is None and not items[0].is_live) or items[0].member:
        raise MediaError(
            f"{source}: expected one camera, stream or video file, found {len(items)} others; read these with "
            "mien predict"
        )
    item, clip = items[0], Clip(end_s=seconds)
    stopped = threading.Event()
    if item.address is None:
        frames = paced(_moving(read_item(item, limits=limits, clip=clip)), stopped.wait, clock)
        return FrameThread(frames, clock=clock, stop=stopped.set)
    feed = StreamReader(item.address, clip, clock=clock, max_pixels=limits.max_pixels)

    def stop() -> None:
        stopped.set()
        feed.stop()

    return FrameThread(paced(iter(feed), stopped.wait, clock, lambda: feed.recording), clock=clock, stop=stop)


def paced(
    items: Iterator[Frame | Failure], wait: Wait, clock: Clock, when: Callable[[], bool] = lambda: True
) -> Generator[Frame | Failure]:
    """The same items, each frame at its time, counted from the first; unless `when` says no, since it is live."""
    begun_s: float | None = None
    for item in items:
        if isinstance(item, Frame) and item.time_s is not None and when():
            if begun_s is None:
                begun_s = clock() - item.time_s
            early_s = begun_s + item.time_s - clock()
            if early_s > 0 and wait(early_s):
                return
        yield item


def _moving(items: Iterator[Frame | Failure]) -> Iterator[Frame | Failure]:
    for item in items:
        if isinstance(item, Frame) and item.time_s is None:
            raise MediaError(f"{item.source}: a still picture; read it with mien predict")
        yield item
