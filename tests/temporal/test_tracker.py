"""Ids through time, on faces whose true paths are known."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.records import Face
from mien.temporal.tracker import Tracked, Tracker

SIZE = 80.0
Path = Callable[[float], tuple[float, float] | None]
"""Time in seconds -> center of a face, or None while it is not to be seen."""


def face(x: float, y: float, score: float = 0.95, size: float = SIZE) -> Face:
    half = size / 2
    eyes = ((x - 9, y), (x + 9, y), (x, y + 5), (x - 7, y + 12), (x + 7, y + 12))
    return Face((x - half, y - half, x + half, y + half), score, eyes, "stub")


def follow(
    people: dict[str, Path], seconds: float, tracker: Tracker, fps: float = 25, jitter: float = 2.0
) -> dict[str, set[int]]:
    """The ids that each person got, with a trembling detector that lists faces in random order."""
    rng = np.random.default_rng(0)
    ids: dict[str, set[int]] = defaultdict(set)
    for time_s in np.arange(0, seconds, 1 / fps):
        seen = [(name, center) for name, path in people.items() if (center := path(time_s))]
        order = rng.permutation(len(seen))
        faces = [face(*(np.array(seen[i][1]) + rng.normal(0, jitter, 2))) for i in order]
        found = tracker.update(faces, float(time_s))
        assert len({t.track for t in found}) == len(found) == len(faces)
        for i, tracked in zip(order, found, strict=True):
            ids[seen[i][0]].add(tracked.track)
    return ids


def test_crossing_hidden_entering_and_leaving_faces_keep_their_ids():
    def right(t: float) -> tuple[float, float]:
        return 100 + 120 * t, 200

    def left(t: float) -> tuple[float, float] | None:
        """Hidden behind the other while they cross."""
        x = 700 - 120 * t
        return None if abs(x - right(t)[0]) < SIZE * 0.7 else (x, 210)

    def late(t: float) -> tuple[float, float] | None:
        return (300, 500 - 40 * (t - 2)) if t >= 2 else None

    def leaving(t: float) -> tuple[float, float] | None:
        return (600, 500) if t < 1.5 else None

    def blinking(t: float) -> tuple[float, float] | None:
        """Something passes before a face that stays where it is, for 0.8 s."""
        return None if 2 <= t < 2.8 else (900, 300)

    people = {"right": right, "left": left, "late": late, "leaving": leaving, "blinking": blinking}
    ids = follow(people, 5, Tracker())
    assert {name: len(found) for name, found in ids.items()} == dict.fromkeys(people, 1)
    assert len(set.union(*ids.values())) == len(people)


def test_another_frame_rate_gives_the_same_ids():
    people: dict[str, Path] = {"a": lambda t: (100 + 100 * t, 200), "b": lambda t: (600 - 100 * t, 320)}
    for fps in (5, 12.5, 60):
        ids = follow(people, 4, Tracker(), fps)
        assert all(len(found) == 1 for found in ids.values())
        assert ids["a"] != ids["b"]


def test_a_face_that_comes_back_too_late_is_somebody_new():
    people: dict[str, Path] = {"a": lambda t: None if 1 <= t < 3 else (100, 100)}
    assert follow(people, 4, Tracker(patience_s=1.0)) == {"a": {1, 2}}
    assert follow(people, 4, Tracker(patience_s=2.5)) == {"a": {1}}


def test_an_unsure_face_continues_a_track_and_begins_none():
    tracker = Tracker(sure=0.8)
    assert [t.track for t in tracker.update([face(100, 100)], 0.0)] == [1]
    found = tracker.update([face(101, 100, score=0.3), face(400, 100, score=0.3)], 0.1)
    assert [(t.track, t.face.score) for t in found] == [(1, 0.3)]
    tracker.update([], 0.2)  # lost: now only a sure face brings it back
    assert tracker.update([face(101, 100, score=0.3)], 0.3) == []
    assert [t.track for t in tracker.update([face(101, 100)], 0.4)] == [1]


def test_between_detections_faces_are_where_their_speed_takes_them():
    tracker = Tracker()
    for i in range(10):
        tracker.update([face(100 + 10 * i, 200)], i * 0.1)
    (expected,) = tracker.expect(1.0)
    assert (expected.track, expected.seen) == (1, False)
    assert (expected.face.box_xyxy[0] + expected.face.box_xyxy[2]) / 2 == pytest.approx(200, abs=3)
    assert expected.face.landmarks_xy
    shift = expected.face.landmarks_xy[2][0] - (expected.face.box_xyxy[0] + expected.face.box_xyxy[2]) / 2
    assert shift == pytest.approx(0, abs=0.01 + 1e-6)  # the landmarks have moved along
    tracker.update([], 1.1)
    assert tracker.expect(1.2) == []  # what was not detected is not made up


def test_time_does_not_go_back():
    tracker = Tracker()
    tracker.update([], 1.0)
    with pytest.raises(ValueError, match=r"backwards: 0\.5 s after 1 s"):
        tracker.update([], 0.5)


@given(
    speed=st.tuples(st.floats(-150, 150), st.floats(-150, 150)),
    gaps=st.lists(st.floats(0.005, 0.2), min_size=2, max_size=30),
)
def test_one_face_has_one_id_at_any_speed_and_frame_rate(speed: tuple[float, float], gaps: list[float]):
    """Up to two face heights a second, frames up to 0.2 s apart."""
    tracker, time_s = Tracker(), 0.0
    for gap in gaps:
        found = tracker.update([face(500 + speed[0] * time_s, 500 + speed[1] * time_s)], time_s)
        assert [t.track for t in found] == [1]
        time_s += gap


def test_a_tracked_face_is_the_detected_one():
    seen = face(10, 20)
    assert Tracker().update([seen], 0.0) == [Tracked(1, seen)]
