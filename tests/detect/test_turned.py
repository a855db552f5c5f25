"""Faces in pictures that are turned, and frames of unusual shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mien import Recognizer
from mien.detect import make_detector
from mien.detect.scaled import automatic_min_face, plausible
from mien.detect.yunet import YuNetDetector
from mien.errors import DetectorError
from mien.geometry import iou
from mien.media.image import read_image
from mien.records import Face, Frame, Image


@pytest.fixture(scope="module")
def picture(astronaut: Path) -> Image:
    return next(read_image(astronaut)).pixels[:280, 60:400]


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_face_is_found_where_it_is_and_read_as_if_upright(picture: Image, turns: int):
    recognizer = Recognizer(turned=True, threads=1)
    (upright,) = recognizer.read(picture)
    view = np.ascontiguousarray(np.rot90(picture, turns))
    (reading,) = recognizer.read(view)
    height, width = picture.shape[:2]
    x1, y1, x2, y2 = upright.face.box_xyxy
    expected = {
        1: (y1, width - x2, y2, width - x1),
        2: (width - x2, height - y2, width - x1, height - y1),
        3: (height - y2, x1, height - y1, x2),
    }[turns]
    assert iou(np.array([reading.face.box_xyxy]), np.array([expected]))[0, 0] > 0.8
    np.testing.assert_allclose(reading.expression.probabilities, upright.expression.probabilities, atol=0.15)
    assert reading.expression.label == upright.expression.label


def test_haar_does_not_look_at_turned_pictures():
    with pytest.raises(DetectorError, match="takes no turned"):
        make_detector("haar", turned=True)


def test_landmarks_must_agree_with_the_box():
    box = (0.0, 0.0, 100.0, 100.0)
    eyes, nose, mouth = ((30.0, 30.0), (70.0, 30.0)), (50.0, 50.0), ((35.0, 75.0), (65.0, 75.0))
    assert plausible(Face(box, 0.9, (*eyes, nose, *mouth)))
    assert not plausible(Face(box, 0.9, (*mouth, nose, *eyes)))
    assert not plausible(Face(box, 0.9, (*eyes, (50.0, 190.0), *mouth)))
    assert plausible(Face(box, 0.9))


@pytest.mark.parametrize(("width", "height"), [(1000, 20_000), (20_000, 1000)])
def test_a_long_thin_frame_does_not_hide_its_faces(picture: Image, width: int, height: int):
    assert automatic_min_face(width, height) == automatic_min_face(2000, 1000)
    frame = np.full((height, width, 3), 90, np.uint8)
    frame[100 : 100 + picture.shape[0], 100 : 100 + picture.shape[1]] = picture
    assert len(YuNetDetector().detect(frame)) == 1


def test_an_unsure_face_continues_a_track_and_begins_none(picture: Image):
    (face,) = YuNetDetector().detect(picture)
    detector = YuNetDetector(min_score=min(face.score + 0.02, 1.0))
    assert detector.detect(picture) == []
    assert len(detector.for_tracking.detect(picture)) == 1
    frames = [Frame(picture, "clip.mp4", index, index / 25) for index in range(2)]
    assert all(not result.readings for result in Recognizer(detector=detector, threads=1).read_all(frames))
