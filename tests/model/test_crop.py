"""Crops: exact where they must be, upright where they should be, the same however the face came."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.model.crop import cut, square_of, whole_face
from mien.model.manifest import CropSpec, Framing, InputSpec
from mien.records import Face, Image, Landmarks

GRAY = InputSpec(height=48, width=48, channels=1, color="gray")
BGR = InputSpec(height=48, width=48, channels=3, color="bgr")
RGB = InputSpec(height=48, width=48, channels=3, color="rgb")
EYES = CropSpec(align="eyes", framings={"default": Framing(margin=1.2)})


def noise(height: int, width: int, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth(size: int) -> Image:
    """A picture without detail: what resampling must not change much."""
    y, x = np.mgrid[0:size, 0:size] / size
    return np.stack([x * 255, y * 255, (x + y) * 127], axis=-1).astype(np.uint8)


def test_a_whole_picture_of_the_models_size_is_untouched():
    image = noise(48, 48)
    np.testing.assert_array_equal(cut(image, [whole_face(image)], CropSpec(), BGR)[0], image)
    np.testing.assert_array_equal(cut(image, [whole_face(image)], CropSpec(), RGB)[0], image[..., ::-1])


def test_a_gray_picture_stays_itself():
    gray = noise(48, 48)[..., :1]
    image = np.repeat(gray, 3, axis=2)
    np.testing.assert_array_equal(cut(image, [whole_face(image)], CropSpec(), GRAY)[0], gray)


@pytest.mark.parametrize("times", [2, 3, 7])
def test_shrinking_by_a_whole_number_averages_areas(times: int):
    image = noise(48 * times, 48 * times)
    expected = image.reshape(48, times, 48, times, 3).mean(axis=(1, 3))
    found = cut(image, [whole_face(image)], CropSpec(), BGR)[0]
    np.testing.assert_allclose(found, expected, atol=1)


def test_no_faces_give_no_crops():
    assert cut(noise(64, 64), [], EYES, GRAY).shape == (0, 48, 48, 1)


def test_whole_ignores_margin_and_alignment():
    image = noise(48, 48)
    np.testing.assert_array_equal(cut(image, [whole_face(image)], EYES, BGR)[0], image)


@given(angle=st.floats(-60, 60), size=st.integers(40, 300))
def test_eyes_come_out_level(angle: float, size: int):
    """Two white dots for eyes: wherever the head is turned, they end on one row, the left one on the left."""
    canvas = np.zeros((500, 500, 3), np.uint8)
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))

    def place(x: float, y: float) -> tuple[float, float]:
        return 250 + size * (cos * x - sin * y), 250 + size * (sin * x + cos * y)

    points = [place(-0.2, -0.1), place(0.2, -0.1), place(0, 0.05), place(-0.15, 0.25), place(0.15, 0.25)]
    for x, y in points[:2]:
        cv2.circle(canvas, (round(x), round(y)), max(size // 20, 2), (255, 255, 255), -1)
    landmarks: Landmarks = tuple(points)  # type: ignore[assignment]
    face = Face((250 - size / 2, 250 - size / 2, 250 + size / 2, 250 + size / 2), 1.0, landmarks, "libface")
    crop = cut(canvas, [face], EYES, GRAY)[0, :, :, 0].astype(float)
    rows, columns = np.mgrid[0:48, 0:48]
    left, right = crop * (columns < 24), crop * (columns >= 24)
    assert left.sum() > 0
    assert right.sum() > 0
    row = [float((half * rows).sum() / half.sum()) for half in (left, right)]
    assert abs(row[0] - row[1]) < 1.0
    assert row[0] < 24


@given(x=st.floats(-300, 300), y=st.floats(-300, 300), side=st.floats(1, 900), seed=st.integers(0, 9))
def test_a_face_anywhere_in_or_out_of_the_frame_gives_a_crop(x: float, y: float, side: float, seed: int):
    face = Face((x, y, x + side, y + side), 1.0, None, "haar")
    assert cut(noise(120, 160, seed), [face], EYES, RGB).shape == (1, 48, 48, 3)


@given(scale=st.floats(1.0, 6.0))
def test_the_same_face_at_another_resolution_gives_the_same_crop(scale: float):
    small, size = smooth(96), round(96 * scale)
    large = cv2.resize(small, (size, size), interpolation=cv2.INTER_LINEAR)
    box, grown = (20.0, 20.0, 70.0, 80.0), size / 96
    a = cut(small, [Face(box, 1.0)], EYES, BGR).astype(int)
    b = cut(large, [Face(tuple(v * grown for v in box), 1.0)], EYES, BGR).astype(int)  # type: ignore[arg-type]
    assert np.abs(a - b).mean() < 2.5


def test_the_framing_of_the_detector_is_used():
    spec = CropSpec(framings={"default": Framing(margin=1.0), "haar": Framing(margin=2.0, shift_xy=(0.0, 0.1))})
    box = (10.0, 10.0, 30.0, 40.0)
    assert square_of(Face(box, 1.0, None, "someone"), spec) == (20.0, 25.0, 30.0, 0.0)
    assert square_of(Face(box, 1.0, None, "haar"), spec) == (20.0, 31.0, 60.0, 0.0)


def test_a_framing_may_go_by_the_mean_of_the_boxs_sides():
    spec = CropSpec(framings={"default": Framing(margin=1.5, length="mean")})
    assert square_of(Face((10.0, 10.0, 30.0, 90.0), 1.0), spec) == (20.0, 50.0, pytest.approx(60.0), 0.0)


def test_outside_the_frame_the_nearest_pixel_is_repeated():
    image = np.full((40, 40, 3), 200, np.uint8)
    crop = cut(image, [Face((-40, -40, 20, 20), 1.0)], CropSpec(), BGR)
    assert (crop == 200).all()
