"""JPEG pictures that are decoded at a fraction of their size: the same faces, their readings within what is stated."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien import Failure, Recognizer
from mien.batch import Job, read_items, without_pixels
from mien.detect import StubDetector, make_detector
from mien.geometry import iou
from mien.media import Item
from mien.media.image import decode

TOLERANCE = 0.2
"""Largest difference of a probability that docs/reference/detectors.md states."""


def jpeg(picture: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=92, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def large(group: Path) -> bytes:
    """The group picture at 2360 x 1024: 47 pixels are the smallest face wanted, and a half is enough."""
    return jpeg(Image.open(group).resize((2360, 1024), Image.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer(threads=1)


def test_only_a_large_picture_is_reduced(recognizer: Recognizer, large: bytes, group: Path):
    (frame,) = decode(large, "large", reduction=recognizer.reduction)
    assert frame.reduced
    assert (frame.reduced.factor, frame.size, frame.reduced.image.shape) == (2, (2360, 1024), (512, 1180, 3))
    assert frame.held_pixels == 512 * 1180
    assert frame.pixels.shape == (1024, 2360, 3)
    (small,) = decode(group.read_bytes(), "group", reduction=recognizer.reduction)
    assert small.reduced is None


@pytest.mark.parametrize("min_face", [20, 40, 80, 160, 320])
def test_the_factor_follows_from_the_smallest_face(min_face: float):
    detector = make_detector("yunet", min_face=min_face)
    assert detector.reduction(1280, 960) == min(min_face // 20, 8)  # type: ignore[attr-defined]


def test_readings_stay_within_the_tolerance(large: bytes, recognizer: Recognizer):
    reduced, full = recognizer.read(large), Recognizer(threads=1, full_size=True).read(large)
    assert len(reduced) == len(full) == 3
    for one in full:
        boxes = np.array([other.face.box_xyxy for other in reduced])
        overlaps = iou(np.array([one.face.box_xyxy]), boxes)[0]
        other = reduced[int(overlaps.argmax())]
        assert overlaps.max() > 0.9
        assert other.expression.label == one.expression.label
        assert np.abs(np.subtract(other.expression.probabilities, one.expression.probabilities)).max() < TOLERANCE


def test_a_face_with_too_few_pixels_is_cut_from_the_whole_picture(group: Path, monkeypatch: pytest.MonkeyPatch):
    detector = make_detector("yunet", min_face=60)
    cut_from: list[tuple[int, ...]] = []
    monkeypatch.setattr("mien.model.crop.cut", lambda image, faces, spec, target: cut_from.append(image.shape) or
                        np.zeros((len(faces), 48, 48, 1), np.uint8))  # fmt: skip
    Recognizer(detector=detector, threads=1).read(group)
    assert cut_from == [(512, 1180, 3)]


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_turned_by_exif(large: bytes, orientation: int):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = jpeg(Image.open(io.BytesIO(large)), exif=exif)
    (reduced,), (whole,) = decode(data, "x", reduction=lambda width, height: 4), decode(data, "x")
    assert whole.image is not None
    assert reduced.reduced
    assert reduced.size == whole.size
    small = np.asarray(Image.fromarray(whole.image).resize(reduced.reduced.image.shape[1::-1], Image.Resampling.BOX))
    assert np.abs(reduced.reduced.image.astype(int) - small).mean() < 3


def test_a_side_that_does_not_divide_and_a_turn_are_not_reduced():
    exif = Image.Exif()
    exif[0x0112] = 3
    odd = Image.new("RGB", (1001, 801), "red")
    (turned,) = decode(jpeg(odd, exif=exif), "x", reduction=lambda width, height: 2)
    (upright,) = decode(jpeg(odd), "x", reduction=lambda width, height: 2)
    assert turned.reduced is None
    assert upright.reduced
    assert upright.size == (1001, 801)
    assert upright.reduced.image.shape == (401, 501, 3)


def test_gray_and_cmyk(large: bytes):
    for mode in ("L", "CMYK"):
        (frame,) = decode(jpeg(Image.open(io.BytesIO(large)).convert(mode)), "x", reduction=lambda width, height: 8)
        assert frame.reduced
        assert frame.reduced.image.shape == (128, 295, 3)


def test_a_cut_off_picture_fails_as_it_does_in_full(large: bytes, recognizer: Recognizer, tmp_path: Path):
    path = tmp_path / "cut.jpg"
    path.write_bytes(large[: len(large) // 2])
    job = Job("default", "yunet", threads=1)
    ((_, failure),) = read_items([(0, Item(str(path), path))], job, recognizer)
    assert isinstance(failure, Failure)
    assert "truncated" in failure.message


def test_results_leave_their_bytes_behind(large: bytes, recognizer: Recognizer, tmp_path: Path):
    path = tmp_path / "large.jpg"
    path.write_bytes(large)
    ((_, result),) = read_items([(0, Item(str(path), path))], Job("default", "yunet", threads=1), recognizer)
    assert not isinstance(result, Failure)
    assert result.frame.image is None
    assert result.frame.reduced
    light = without_pixels(result)
    assert not isinstance(light, Failure)
    assert light.frame.reduced is None


def test_any_other_detector_sees_every_pixel(large: bytes):
    recognizer = Recognizer(detector=StubDetector(), threads=1)
    assert recognizer.reduction is None
    assert recognizer.read(large) == []
