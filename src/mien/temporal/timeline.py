"""What every face of a video shows, moment by moment: smoothed, thinned out, with a picture of each face.

For display only: measurements take the readings as they are.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.geometry import clip_box
from mien.imaging import encode_jpeg
from mien.model.crop import cut
from mien.model.manifest import CropSpec, InputSpec
from mien.records import Face, FrameReadings, Image
from mien.temporal.episodes import Episode, EpisodeFinder, Observer, Smoother

FIRST_STEP_S = 0.1
"""Readings of one track closer than this are averaged; the step doubles as often as `MAX_POINTS` asks for."""

MAX_POINTS = 100_000
"""Points kept, of all tracks together: 4 MB for 7 classes, however long the video. That is 2 h 46 min of one face at a
tenth of a second, or 2 h of sixty faces at 6.4 s."""

THUMBNAIL_PX = 72
THUMBNAIL_QUALITY = 82
"""A face 72 pixels wide and high, as a JPEG of about 2 KB."""

BETTER = 1.1
"""A new thumbnail must be so much better than the last: each costs the time to cut and compress it."""

Times = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Lane:
    """One track through time.

    Attributes:
        track: its id.
        first_s, last_s: when it was first and last seen.
        start_s, end_s: `[N]`, stretches of time in order; from the end of one to the start of the next it is unseen.
        probabilities: float32 `[N, K]`, the mean of the smoothed probabilities in each stretch.
        thumbnail: its face as a JPEG, `THUMBNAIL_PX` square, or None.
    """

    track: int
    first_s: float
    last_s: float
    start_s: Times
    end_s: Times
    probabilities: NDArray[np.float32]
    thumbnail: bytes | None = None

    @property
    def seconds(self) -> float:
        """From the first sight to the last."""
        return self.last_s - self.first_s


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """One video: its tracks in the order in which they appear, and their episodes, by track, then by time.

    Attributes:
        source: the video's name.
        classes: K names, in the model's order; none where no face was followed.
        start_s, end_s: of the part that was read.
        step_s: probabilities are averaged over so many seconds.
    """

    source: str
    classes: tuple[str, ...]
    start_s: float
    end_s: float
    step_s: float
    lanes: tuple[Lane, ...]
    episodes: tuple[Episode, ...]

    @property
    def seconds(self) -> float:
        """How long the part that was read is."""
        return self.end_s - self.start_s

    def episodes_of(self, lane: Lane) -> tuple[Episode, ...]:
        """The episodes of one track, by time."""
        first = bisect_left(self.episodes, lane.track, key=lambda e: e.track)
        return self.episodes[first : bisect_right(self.episodes, lane.track, key=lambda e: e.track)]


class Recorder(Observer):
    """An `Observer` that also keeps what a picture of the video's course needs. One recorder a video.

    Its memory is bounded by `MAX_POINTS`, not by the video's length; what grows is one thumbnail a track (2 KB) and the
    list of episodes.
    """

    def __init__(
        self, smoother: Smoother | None = None, finder: EpisodeFinder | None = None, *, thumbnails: bool = True
    ) -> None:
        self._heard = _RecordingSmoother(smoother or Smoother())
        super().__init__(self._heard, finder)
        self._thumbnails = thumbnails
        self._tracks: dict[int, _Track] = {}
        self._classes: tuple[str, ...] = ()
        self._source = ""
        self._frames, self._first_s, self._last_s = 0, 0.0, 0.0
        self._points, self._step_s = 0, FIRST_STEP_S

    def add(self, result: FrameReadings) -> None:
        """Take in a frame; stills, and faces without a track, are passed over."""
        time_s = result.frame.time_s
        if time_s is None:
            return
        self._source = result.frame.source
        self._first_s = min(self._first_s, time_s) if self._frames else time_s
        self._last_s = max(self._last_s, time_s)
        self._frames += 1
        super().add(result)
        for reading in result.readings:
            if reading.track is not None:
                self._classes = reading.expression.classes
                track = self._tracks.setdefault(reading.track, _Track(time_s, len(self._classes)))
                self._points += track.add(time_s, self._step_s, list(self._heard.said[reading.track].values()))
                if self._thumbnails:
                    track.look_at(result.frame.pixels, reading.face)
        # A track keeps at least one point: beyond one each, they are bounded.
        while self._points > MAX_POINTS + len(self._tracks):
            self._step_s *= 2
            self._points = sum(track.coarsen() for track in self._tracks.values())

    def timeline(self) -> Timeline:
        """The video is over: all of it."""
        episodes = tuple(self.finish())
        # A frame is shown until the next one is.
        hold_s = (self._last_s - self._first_s) / (self._frames - 1) if self._frames > 1 else FIRST_STEP_S
        gap_s = max(self.finder.gap_s, 2.1 * hold_s, 1.5 * self._step_s)
        lanes = [t.lane(number, self._step_s, hold_s, gap_s) for number, t in self._tracks.items()]
        return Timeline(
            self._source,
            self._classes,
            self._first_s,
            self._last_s + hold_s if self._frames else 0.0,
            self._step_s,
            tuple(sorted(lanes, key=lambda lane: (lane.first_s, lane.track))),
            episodes,
        )


class _RecordingSmoother(Smoother):
    """Another smoother, and what it said last of each track."""

    def __init__(self, smoother: Smoother) -> None:
        super().__init__(smoother.half_life_s)
        self._smoother = smoother
        self.said: dict[int, dict[str, float]] = {}

    def update(self, track: int, time_s: float, probabilities: Mapping[str, float]) -> dict[str, float]:
        self.said[track] = self._smoother.update(track, time_s, probabilities)
        return self.said[track]


class _Track:
    """The points of one track on a grid of time, as sums, and its best face so far."""

    def __init__(self, time_s: float, classes: int) -> None:
        self.first_s = self.last_s = time_s
        self._classes = classes
        self._bins, self._counts, self._sums = array("q"), array("q"), array("f")
        self._quality = 0.0
        self._thumbnail: bytes | None = None

    def add(self, time_s: float, step_s: float, values: Sequence[float]) -> int:
        """Take in probabilities; returns how many points that began, 0 or 1."""
        self.last_s = time_s
        number = math.floor(time_s / step_s + 1e-6)
        if self._bins and self._bins[-1] == number:
            self._counts[-1] += 1
            for k, value in enumerate(values, len(self._sums) - self._classes):
                self._sums[k] += value
            return 0
        self._bins.append(number)
        self._counts.append(1)
        self._sums.extend(values)
        return 1

    def coarsen(self) -> int:
        """Merge the points of each two steps of the grid; returns how many are left."""
        halved = np.array(self._bins) // 2
        begins = np.flatnonzero(np.diff(halved, prepend=halved[0] - 1))
        sums = np.add.reduceat(np.array(self._sums).reshape(-1, self._classes), begins)
        self._counts = array("q", np.add.reduceat(np.array(self._counts), begins).tolist())
        self._bins, self._sums = array("q", halved[begins].tolist()), array("f", sums.ravel().tolist())
        return len(self._bins)

    def look_at(self, image: Image, face: Face) -> None:
        """Keep this face if it is a better picture than the one before."""
        quality = _quality(image, face)
        if quality > BETTER * self._quality:
            target = InputSpec(height=THUMBNAIL_PX, width=THUMBNAIL_PX, channels=3, color="bgr")
            picture = cut(image, [face], CropSpec(), target)[0]
            self._quality, self._thumbnail = quality, encode_jpeg(picture, THUMBNAIL_QUALITY)

    def lane(self, track: int, step_s: float, hold_s: float, gap_s: float) -> Lane:
        """All of it: a point holds until the next, or, where that is more than `gap_s` away, for one frame or step."""
        start = np.array(self._bins) * step_s
        start[0] = max(start[0], self.first_s)
        following = np.append(start[1:], np.inf)
        end = np.where(following - start <= gap_s, following, start + max(step_s, hold_s))
        end[-1] = max(min(end[-1], self.last_s + hold_s), start[-1])
        means = np.array(self._sums, np.float32).reshape(-1, self._classes)
        means /= np.array(self._counts, np.float32)[:, None]
        return Lane(track, self.first_s, self.last_s, start, end, means, self._thumbnail)


def _quality(image: Image, face: Face) -> float:
    """How good a picture of somebody this is: large (up to twice a thumbnail), sure, in the frame, frontal."""
    x1, y1, x2, y2 = face.box_xyxy
    left, top, right, bottom = clip_box(face.box_xyxy, image.shape[1], image.shape[0])
    whole, seen = max((x2 - x1) * (y2 - y1), 1.0), (right - left) * (bottom - top)
    frontal = 1.0
    if face.landmarks_xy:
        # Seen from the side, the nose lies nearer to one eye.
        a, b, nose = face.landmarks_xy[:3]
        near, far = sorted((math.dist(a, nose), math.dist(b, nose)))
        frontal = near / max(far, 1e-6)
    return min(math.sqrt(seen), 2 * THUMBNAIL_PX) * min(seen / whole, 1.0) * face.score * frontal
