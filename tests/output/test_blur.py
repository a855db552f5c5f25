"""Faces made unrecognizable: what is left of them, and that nothing else is touched."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.detect import make_detector
from mien.output.blur import MARGIN, FaceBlur, blur_faces
from mien.output.draw import annotate
from mien.records import Box, Expression, Face, Frame, FrameReadings, Reading

READING = Reading("a.mp4", 0, 0, Face((50, 30, 110, 100), 0.9), Expression(("happy", "sad"), (0.6, 0.4)), 1)


def grown(box: Box) -> tuple[int, int, int, int]:
    """The box with its margin, in whole pixels outward."""
    dx, dy = MARGIN * (box[2] - box[0]), MARGIN * (box[3] - box[1])
    return int(box[0] - dx - 1), int(box[1] - dy - 1), int(box[2] + dx + 2), int(box[3] + dy + 2)


@pytest.mark.parametrize("side", [12, 60, 300])
def test_no_detail_is_left_in_the_box_and_outside_all_is_left(side: int):
    rng = np.random.default_rng(side)
    image = rng.integers(0, 256, (2 * side, 2 * side, 3), np.uint8)
    image.flags.writeable = False
    box = (0.5 * side, 0.5 * side, 1.5 * side, 1.5 * side)
    result = blur_faces(image, [Face(box, 0.9)])
    x1, y1, x2, y2 = (round(v) for v in box)
    before, after = (a[y1:y2, x1:x2].astype(float) for a in (image, result))
    assert after.std() < 0.2 * before.std()
    assert abs(np.corrcoef(before.ravel(), after.ravel())[0, 1]) < 0.35
    outside = np.ones(image.shape[:2], bool)
    x1, y1, x2, y2 = grown(box)
    outside[y1:y2, x1:x2] = False
    assert np.array_equal(result[outside], image[outside])
    assert outside.any()


@pytest.mark.parametrize("cycles", [5, 7, 9, 15, 31])
def test_detail_within_a_face_cannot_be_told_from_none(cycles: int):
    """Not from many frames either: none of its phases shows."""
    side = 200
    x = np.arange(2 * side)
    fade = np.where(abs(x - side) < side / 2, np.cos(np.pi * (x - side) / side) ** 2, 0)
    shown = []
    for phase in np.linspace(0, 2 * np.pi, 8, endpoint=False):
        wave = 127.5 + 127 * fade * np.sin(2 * np.pi * cycles * x / (side * (1 + 2 * MARGIN)) + phase)
        image = np.rint(wave).astype(np.uint8)[None, :, None].repeat(2 * side, 0).repeat(3, 2)
        shown.append(blur_faces(image, [Face((100, 100, 300, 300), 0.9)])[100:300, 100:300, 0])
    assert np.ptp(np.array(shown).astype(int), axis=0).max() <= 3  # rounded more than once


def test_of_a_real_face_no_detail_is_left(astronaut: Path):
    image = cv2.imread(str(astronaut))
    (face,) = make_detector("haar").detect(image)
    x1, y1, x2, y2 = (round(v) for v in face.box_xyxy)
    before, after = (a[y1:y2, x1:x2].astype(np.float32) for a in (image, blur_faces(image, [face])))
    coarse = (0, 0), (x2 - x1) / 8
    detail, left = (a - cv2.GaussianBlur(a, *coarse) for a in (before, after))
    inside = slice((y2 - y1) // 8, -(y2 - y1) // 8), slice((x2 - x1) // 8, -(x2 - x1) // 8)
    assert left[inside].std() < 0.08 * detail[inside].std()
    assert abs(np.corrcoef(detail[inside].ravel(), left[inside].ravel())[0, 1]) < 0.2


def test_a_blurred_face_is_found_by_no_detector(group: Path):
    image = cv2.imread(str(group))
    detector = make_detector("haar")
    faces = detector.detect(image)
    assert faces
    assert detector.detect(blur_faces(image, faces)) == []


@pytest.mark.parametrize(
    "box", [(-50, -40, 60, 80), (250, 180, 400, 300), (-10, 50, 330, 120), (-1e7, -1e7, 1e7, 1e7), (0, 0, 320, 240)]
)
def test_a_face_at_the_border_is_blurred_as_strongly(box: Box):
    image = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    result = blur_faces(image, [Face(box, 0.9)])
    x1, y1, x2, y2 = (round(v) for v in np.clip(box, 0, (320, 240, 320, 240)))
    assert result[y1:y2, x1:x2].std() < 0.2 * image.std()


@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.lists(st.tuples(*[st.floats(-200, 300, allow_nan=False)] * 2, *[st.floats(-9, 300)] * 2), max_size=4),
)
def test_any_box_in_any_picture_can_be_blurred(width: int, height: int, boxes: list[tuple[float, ...]]):
    image = np.full((height, width, 3), 77, np.uint8)
    result = blur_faces(image, [Face((x, y, x + w, y + h), 0.9) for x, y, w, h in boxes])
    assert np.array_equal(result, image)  # nothing but gray was there


def test_drawing_on_top_is_possible():
    hidden = blur_faces(np.full((120, 160, 3), 128, np.uint8), [READING])
    assert not np.array_equal(annotate(hidden, [READING]), hidden)


def test_a_face_missed_for_a_moment_stays_hidden():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (120, 160, 3), np.uint8)

    def frame(time_s: float, *readings: Reading) -> FrameReadings:
        return FrameReadings(Frame(noise, "a.mp4", 0, time_s), readings)

    blur = FaceBlur(hold_s=0.5)
    hidden = blur.apply(frame(0, READING))
    assert not np.array_equal(hidden, noise)
    assert np.array_equal(blur.apply(frame(0.4)), hidden)
    assert np.array_equal(blur.apply(frame(0.6)), noise)
