"""Gray, resize, warp and blur, against OpenCV, which made the crops of earlier models."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given
from hypothesis import strategies as st

from mien import imaging

COLOR = np.ascontiguousarray(skimage.data.astronaut()[:300, 60:360, ::-1])
GRAY = cv2.cvtColor(COLOR, cv2.COLOR_BGR2GRAY)
BOTH = pytest.mark.parametrize("image", [GRAY, COLOR], ids=["gray", "color"])


def difference(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    return np.abs(ours.astype(int) - theirs.astype(int))


def test_gray_is_opencvs_to_one_level():
    assert difference(imaging.to_gray(COLOR), GRAY).max() <= 1


@BOTH
@pytest.mark.parametrize("size", [(48, 48), (47, 61), (299, 300), (150, 100), (300, 300)])
def test_shrinking_is_opencvs_area_averaging_to_one_level(image: np.ndarray, size: tuple[int, int]):
    expected = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    assert difference(imaging.shrink(image, *size), expected).max() <= 1


@BOTH
def test_shrinking_far_stays_within_two_levels(image: np.ndarray):
    expected = cv2.resize(image, (13, 11), interpolation=cv2.INTER_AREA)
    assert difference(imaging.shrink(image, 13, 11), expected).max() <= 2


@BOTH
@given(
    angle=st.floats(-0.6, 0.6),
    scale=st.floats(0.3, 1.5),
    x=st.floats(-40, 320),
    y=st.floats(-40, 320),
)
def test_a_warp_is_opencvs_nearly_everywhere(image: np.ndarray, angle: float, scale: float, x: float, y: float):
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    matrix = np.array([[cos, -sin, x], [sin, cos, y]])
    expected = cv2.warpAffine(
        image, matrix, (48, 40), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )
    off = difference(imaging.warp(image, matrix, 48, 40), expected)
    assert off.mean() < 0.05
    assert np.percentile(off, 99) <= 1


@BOTH
@pytest.mark.parametrize("sigma", [0.4, 1.5, 6.0])
@pytest.mark.parametrize(("edge", "border"), [("reflect", cv2.BORDER_REFLECT_101), ("symmetric", cv2.BORDER_REFLECT)])
def test_blur_is_opencvs_to_one_level(image: np.ndarray, sigma: float, edge: str, border: int):
    expected = cv2.GaussianBlur(image, (0, 0), sigma, borderType=border)
    assert difference(imaging.gaussian_blur(image, sigma, edge=edge), expected).max() <= 1


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 7, 3), (7, 1, 3), (1, 1), (3, 1, 1)])
def test_tiny_pictures_pass_every_stage(shape: tuple[int, ...]):
    image = np.full(shape, 77, np.uint8)
    for result in (
        imaging.shrink(image if image.ndim == 2 or shape[2] == 3 else image[..., 0], 1, 1),
        imaging.resize(image, 5, 9),
        imaging.enlarge_smoothly(image, 9, 5),
        imaging.to_bgr(image),
        imaging.from_jpeg(imaging.encode_jpeg(image, 90)),
    ):
        assert (result == 77).all()
    if shape[-1] == 3:
        assert (imaging.gaussian_blur(image, 3.0) == 77).all()
        assert (imaging.rotate(image, 33) == 77).all()


def test_rotation_is_opencvs():
    turn = cv2.getRotationMatrix2D((149.5, 149.5), 20, 1)
    expected = cv2.warpAffine(COLOR, turn, (300, 300), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    assert difference(imaging.rotate(COLOR, 20), expected).mean() < 0.05


def test_pictures_come_back_from_pillow_as_they_went():
    for image in (COLOR, GRAY, COLOR[::-1, 5:90], COLOR[..., ::-1]):
        np.testing.assert_array_equal(imaging.from_pillow(imaging.to_pillow(image)), image)
    assert imaging.encode_png(GRAY)[:4] == b"\x89PNG"
