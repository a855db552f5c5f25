"""Detection in threads: the same, in the same order, and no further ahead than allowed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien import Face, Failure, Frame, MienError, Recognizer
from mien.detect import read_ahead as ahead
from mien.detect.read_ahead import SearchedFrame, search_frames
from mien.model.bundle import Bundle


class Counting:
    """Finds one face as wide as the frame's gray value, later for brighter frames; refuses black ones."""

    name = "counting"

    def __init__(self, shareable: bool = True) -> None:
        self.shareable = shareable
        self.threads: set[int] = set()
        self.together = self.most = 0
        self.lock = threading.Lock()

    def detect(self, image: np.ndarray) -> list[Face]:
        with self.lock:
            self.threads.add(threading.get_ident())
            self.together += 1
            self.most = max(self.most, self.together)
        value = int(image[0, 0, 0])
        time.sleep(value / 20_000)
        with self.lock:
            self.together -= 1
        if not value:
            raise MienError("black")
        return [Face((0.0, 0.0, float(value), 10.0), 1.0)]


def frame(value: int, time_s: float | None = None, source: str = "a") -> Frame:
    return Frame(np.full((8, 8, 3), value, np.uint8), source, 0, time_s)


@settings(max_examples=25, deadline=None)
@given(
    values=st.lists(st.integers(0, 255), max_size=30),
    threads=st.integers(1, 5),
    every=st.integers(1, 4),
    video=st.booleans(),
)
def test_threads_change_nothing(values: list[int], threads: int, every: int, video: bool):
    frames = [frame(value, i / 25 if video else None) for i, value in enumerate(values)]

    def answer(sought: SearchedFrame) -> object:
        try:
            return sought.first, sought.faces and sought.faces()
        except MienError as error:
            return str(error)

    def answers(threads: int) -> list[tuple[int, object]]:
        found = search_frames(frames, Counting(), detect_every=every, threads=threads)
        return [(id(sought.item), answer(sought)) for sought in found]

    assert answers(threads) == answers(1)
    assert [i for i, _ in answers(threads)] == [id(f) for f in frames]


def test_faces_may_be_asked_for_when_all_frames_are_out():
    found = list(search_frames((frame(200) for _ in range(9)), Counting(), threads=2))
    assert [sought.faces and len(sought.faces()) for sought in found] == [1] * 9


def test_several_look_at_once_and_only_where_the_detector_allows():
    frames = [frame(255) for _ in range(12)]
    for shareable, most in ((True, 3), (False, 1)):
        detector = Counting(shareable)
        for sought in search_frames(frames, detector, threads=3):
            assert sought.faces
            sought.faces()
        assert detector.most == most


def test_no_more_is_taken_ahead_than_can_be_used(monkeypatch: pytest.MonkeyPatch):
    taken = 0

    def frames() -> Iterator[Frame | Failure]:
        nonlocal taken
        for i in range(100):
            taken += 1
            yield frame(1, i / 25)

    for every, most in ((2, 2 * ahead.FRAMES_AHEAD), (10, 2 * 10)):
        taken = 0
        found = search_frames(frames(), Counting(), detect_every=every, threads=2)
        next(found)
        assert taken == most + 1
        found.close()
    taken = 0
    next(search_frames(frames(), Counting(), threads=1))
    assert taken == 1  # a camera's frame is not kept waiting for the next one
    taken = 0
    monkeypatch.setattr(ahead, "PIXELS_AHEAD", 100)
    next(search_frames(frames(), Counting(), detect_every=2, threads=8))
    assert taken == 2  # one of 64 pixels is below the limit, two are above


def test_a_reader_that_leaves_leaves_no_thread_behind(tiny_bundle: Bundle):
    before = threading.active_count()
    recognizer = Recognizer(tiny_bundle.path, Counting(), threads=4)
    results = recognizer.read_all(frame(200, i / 25) for i in range(50))
    next(results)
    results.close()  # pyright: ignore[reportAttributeAccessIssue] - a generator
    assert threading.active_count() == before


def test_a_frame_that_fails_in_its_thread_costs_one_row(tiny_bundle: Bundle):
    recognizer = Recognizer(tiny_bundle.path, Counting(), threads=3)
    for times in ((None, None, None), (0.0, 0.04, 0.08)):
        frames = [frame(value, time_s) for value, time_s in zip((40, 0, 60), times, strict=True)]
        kinds = [isinstance(result, Failure) for result in recognizer.read_all(frames)]
        assert kinds == [False, True, False]
