"""Which face of one frame is which of the next: stable ids through time.

The association is ByteTrack's (Zhang et al. 2022, arXiv 2110.06864). Sure detections are matched first, with every
track; unsure ones then keep alive what was left over. Boxes match by their overlap, where a constant-velocity Kalman
filter expects each face. Time is in seconds, not frames, so that a variable frame rate or a dropped frame changes
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mien.geometry import iou
from mien.records import Box, Face, Landmarks

JITTER = 0.05
"""Standard deviation of a detector's box center, in face heights."""

AGILITY = 3.0
"""Standard deviation of a face's acceleration, in face heights per second squared."""

FIRST_SPEED = 1.0
"""Standard deviation of the speed of a face just found, in face heights per second."""
Reals = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Tracked:
    """A face and whose it is: ids count from 1 and are not used twice. `seen` is False for an expected place."""

    track: int
    face: Face
    seen: bool = True


class Tracker:
    """Gives every face the id of its track. One tracker a video; not for several threads at once.

    Args:
        sure: detector score, 0..1, from which a face may begin a track; those below only continue one.
        match_iou: least overlap, 0..1, of a face and the place where its track expects it.
        patience_s: how long, in seconds, a face may be hidden and still be the same.
    """

    def __init__(self, *, sure: float = 0.8, match_iou: float = 0.2, patience_s: float = 1.0) -> None:
        self.sure = sure
        self.match_iou = match_iou
        self.patience_s = patience_s
        self._tracks: list[_Track] = []
        self._begun = 0
        self._time_s = -np.inf

    def update(self, faces: Sequence[Face], time_s: float) -> list[Tracked]:
        """Match the faces detected at `time_s`; in the order of `faces`, without unsure ones that no track expects.

        Raises:
            ValueError: `time_s` lies before the last one.
        """
        self._advance(time_s)
        self._tracks = [t for t in self._tracks if time_s - t.seen_s <= self.patience_s]
        sure = [face.score >= self.sure for face in faces]
        owners: dict[int, _Track] = self._claim(faces, [i for i, is_sure in enumerate(sure) if is_sure], self._tracks)
        # A track that is lost already is not revived by an unsure face: it would drift onto anything.
        left = [t for t in self._tracks if t.seen and t not in owners.values()]
        owners |= self._claim(faces, [i for i, is_sure in enumerate(sure) if not is_sure], left)
        for i, face in enumerate(faces):
            if i in owners:
                owners[i].correct(face, time_s)
            elif sure[i]:
                owners[i] = self._begin(face, time_s)
        for track in self._tracks:
            track.seen = track in owners.values()
        return [Tracked(owners[i].number, faces[i]) for i in sorted(owners)]

    def expect(self, time_s: float) -> list[Tracked]:
        """Where the faces of the last `update` are by now, for a frame in which nothing was detected for speed.

        Raises:
            ValueError: `time_s` lies before the last one.
        """
        self._advance(time_s)
        return [Tracked(t.number, t.expected(time_s), seen=False) for t in self._tracks if t.seen]

    def _claim(self, faces: Sequence[Face], chosen: Sequence[int], tracks: Sequence[_Track]) -> dict[int, _Track]:
        """Which of the chosen faces is whose."""
        expected = [t.expected(self._time_s).box_xyxy for t in tracks]
        pairs = _match(expected, [faces[i].box_xyxy for i in chosen], self.match_iou)
        return {chosen[column]: tracks[row] for row, column in pairs}

    def _begin(self, face: Face, time_s: float) -> _Track:
        self._begun += 1
        track = _Track(self._begun, face, time_s)
        self._tracks.append(track)
        return track

    def _advance(self, time_s: float) -> None:
        if time_s < self._time_s:
            raise ValueError(f"time goes backwards: {time_s:g} s after {self._time_s:g} s")
        self._time_s = time_s


class _Track:
    """One person: the last face, and a Kalman filter over its center.

    Both axes share one covariance, in units of the face's height, since their noise is the same.
    """

    def __init__(self, number: int, face: Face, time_s: float) -> None:
        self.number = number
        self.face = face
        self.seen_s = time_s
        self.seen = True
        self._center = _center(face.box_xyxy)
        self._speed: Reals = np.zeros(2)
        self._variance: float = JITTER**2
        self._covariance: float = 0.0
        self._speed_variance: float = FIRST_SPEED**2

    def expected(self, time_s: float) -> Face:
        """The face moved to where it should be at `time_s`, its size unchanged."""
        moved = self._center + self._speed * (time_s - self.seen_s) - _center(self.face.box_xyxy)
        return replace(
            self.face,
            box_xyxy=_move_box(self.face.box_xyxy, *moved.tolist()),
            landmarks_xy=_move_points(self.face.landmarks_xy, *moved.tolist()),
        )

    def correct(self, face: Face, time_s: float) -> None:
        """Take in a detection (the textbook's predict and update steps)."""
        step = time_s - self.seen_s
        speed = self._speed_variance + AGILITY**2 * step**2
        both = self._covariance + step * self._speed_variance + AGILITY**2 * step**3 / 2
        place = self._variance + 2 * step * self._covariance + step**2 * self._speed_variance + AGILITY**2 * step**4 / 4
        gain, speed_gain = place / (place + JITTER**2), both / (place + JITTER**2)
        surprise = _center(face.box_xyxy) - (self._center + self._speed * step)
        self._center = self._center + self._speed * step + gain * surprise
        self._speed = self._speed + speed_gain * surprise
        self._variance, self._covariance = (1 - gain) * place, (1 - gain) * both
        self._speed_variance = speed - speed_gain * both
        self.face, self.seen_s, self.seen = face, time_s, True


def _match(expected: Sequence[Box], found: Sequence[Box], least: float) -> list[tuple[int, int]]:
    """Pairs (expected, found), those that overlap most first; each box is in one pair at most."""
    overlap = iou(np.array(expected, float).reshape(-1, 4), np.array(found, float).reshape(-1, 4))
    pairs: list[tuple[int, int]] = []
    for flat in np.argsort(-overlap, axis=None, kind="stable"):
        row, column = divmod(int(flat), overlap.shape[1])
        if overlap[row, column] < least:
            break
        if all(row != r and column != c for r, c in pairs):
            pairs.append((row, column))
    return pairs


def _center(box: Box) -> Reals:
    return np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])


def _move_box(box: Box, dx: float, dy: float) -> Box:
    return (box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy)


def _move_points(points: Landmarks | None, dx: float, dy: float) -> Landmarks | None:
    if points is None:
        return None
    a, b, c, d, e = ((x + dx, y + dy) for x, y in points)
    return (a, b, c, d, e)
