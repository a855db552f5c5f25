"""Detection in threads that run ahead of the reader: frames come back in their order, each with its faces to be."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from mien.detect.base import Detector, faces_in
from mien.records import Face, Failure, Frame

FRAMES_AHEAD = 4
"""Frames that wait for each thread: enough to go on with while the reader cuts and classifies those before."""

PIXELS_AHEAD = 2**25
"""At most this many pixels wait, and the picture that exceeds them: large ones are not hoarded."""


@dataclass(frozen=True, slots=True)
class SearchedFrame:
    """One frame, or what became of it.

    Attributes:
        item: as it came.
        faces: waits for its faces, and raises what the detector raises; None: not looked for.
        first: whether a video or animation begins here.
    """

    item: Frame | Failure
    faces: Callable[[], list[Face]] | None
    first: bool = False


def search_frames(
    frames: Iterable[Frame | Failure], detector: Detector, *, detect_every: int = 1, threads: int = 1
) -> Generator[SearchedFrame]:
    """Look for faces in every frame of a still, and in every n-th one of a video.

    Args:
        frames: in order; those of one source together.
        detector: used in several threads at once if its attribute `shareable` is true, else in the reader's alone.
        detect_every: look into every n-th frame of a video only.
        threads: how many look; with 1, no frame is taken before it is asked for.
    """
    if threads == 1 or not getattr(detector, "shareable", False):
        yield from _sought(frames, detect_every, lambda looker, frame: partial(faces_in, looker, frame), detector)
        return
    pool, left = ThreadPoolExecutor(threads, thread_name_prefix="detect"), True
    try:
        sought = _sought(
            frames, detect_every, lambda looker, frame: pool.submit(faces_in, looker, frame).result, detector
        )
        yield from _taken_ahead(sought, max(detect_every, FRAMES_AHEAD) * threads)
        left = False  # all are handed out, though the reader may not have asked for the last ones' faces yet
    finally:
        pool.shutdown(cancel_futures=left)


def _sought(
    frames: Iterable[Frame | Failure],
    detect_every: int,
    look: Callable[[Detector, Frame], Callable[[], list[Face]]],
    detector: Detector,
) -> Generator[SearchedFrame]:
    tracking: Detector = getattr(detector, "for_tracking", detector)
    source, count, last_s = None, 0, 0.0
    for item in frames:
        if isinstance(item, Failure):
            yield SearchedFrame(item, None)
        elif item.time_s is None:
            yield SearchedFrame(item, look(detector, item))
        else:
            first = item.source != source or item.time_s < last_s  # the same one may be named twice
            source, last_s, count = item.source, item.time_s, 0 if first else count + 1
            yield SearchedFrame(item, look(tracking, item) if count % detect_every == 0 else None, first)


def _taken_ahead(items: Iterable[SearchedFrame], count: int) -> Generator[SearchedFrame]:
    waiting: deque[SearchedFrame] = deque()
    pixels = 0
    for sought in items:
        waiting.append(sought)
        pixels += _pixels(sought)
        while len(waiting) > count or pixels > PIXELS_AHEAD:
            pixels -= _pixels(waiting[0])
            yield waiting.popleft()
    while waiting:
        yield waiting.popleft()


def _pixels(sought: SearchedFrame) -> int:
    return 0 if isinstance(sought.item, Failure) else sought.item.held_pixels
