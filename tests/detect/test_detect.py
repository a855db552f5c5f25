"""Detectors, through the public interface. The face is scikit-image's photo of the astronaut Eileen Collins."""

from __future__ import annotations

import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.detect import DETECTORS, StubDetector, default_detector_name, make_detector
from mien.detect.scaled import MAX_DETECTION_PIXELS, NETWORK_REACH, automatic_min_face, detection_scale
from mien.detect.yunet import YuNetDetector
from mien.errors import DetectorError
from mien.geometry import iou
from mien.records import Box, Face

ASTRONAUT = np.ascontiguousarray(skimage.data.astronaut()[..., ::-1])
FACE_BOX: Box = (178.0, 63.0, 267.0, 175.0)
"""Brow to chin in ASTRONAUT, within a few pixels."""

PORTRAIT = np.ascontiguousarray(ASTRONAUT[0:280, 90:370])


@pytest.fixture(scope="module")
def yunet() -> YuNetDetector:
    return YuNetDetector()


def overlap(found: Box, expected: Box) -> float:
    return float(iou(np.array([found], float), np.array([expected], float))[0, 0])


def moved(box: Box, scale: float = 1.0, dx: float = 0.0, dy: float = 0.0) -> Box:
    return (box[0] * scale + dx, box[1] * scale + dy, box[2] * scale + dx, box[3] * scale + dy)


def only(faces: list[Face]) -> Face:
    assert len(faces) == 1, faces
    return faces[0]


# yunet


def test_yunet_finds_the_face_and_its_landmarks(yunet):
    face = only(yunet.detect(ASTRONAUT))
    assert overlap(face.box_xyxy, FACE_BOX) > 0.8
    assert 0.8 <= face.score <= 1
    assert face.detector == yunet.name == "yunet"
    expected = [(201, 102), (247, 102), (221, 125), (199, 143), (240, 144)]  # marked by hand
    np.testing.assert_allclose(face.landmarks_xy, expected, atol=6)


def test_landmarks_of_a_mirrored_picture_still_start_on_the_pictures_left(yunet):
    face = only(yunet.detect(ASTRONAUT[:, ::-1]))
    left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks_xy
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < right_mouth[0]
    assert left_eye[1] < nose[1] < left_mouth[1]


@settings(max_examples=12, deadline=None, derandomize=True)
@given(x=st.floats(0, 1), y=st.floats(0, 1), scale=st.floats(0.4, 1.4))
def test_boxes_are_in_the_frames_pixels_wherever_the_face_is(x, y, scale):
    small = cv2.resize(PORTRAIT, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    canvas = np.full((420, 640, 3), 127, np.uint8)
    left, top = round(x * (640 - small.shape[1])), round(y * (420 - small.shape[0]))
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    found = YuNetDetector().detect(canvas)[0]
    assert overlap(found.box_xyxy, moved(moved(FACE_BOX, 1, -90), scale, left, top)) > 0.6


@pytest.mark.parametrize("size", [(6000, 4000), (2400, 2400), (1000, 1300)])
def test_a_large_photo_gives_boxes_in_its_own_pixels(yunet, size):
    large = cv2.resize(ASTRONAUT, size)
    face = yunet.detect(large)[0]
    fx, fy = size[0] / 512, size[1] / 512
    expected = (FACE_BOX[0] * fx, FACE_BOX[1] * fy, FACE_BOX[2] * fx, FACE_BOX[3] * fy)
    assert overlap(face.box_xyxy, expected) > 0.7


@pytest.mark.parametrize("side", [20, 32, 48, 200, 1100])
def test_a_face_that_fills_the_picture_is_found(yunet, side):
    crop = ASTRONAUT[55:180, 160:285]
    kernel = cv2.INTER_AREA if side < 125 else cv2.INTER_LINEAR
    face = yunet.detect(cv2.resize(crop, (side, side), interpolation=kernel))[0]
    assert overlap(face.box_xyxy, moved(FACE_BOX, side / 125, -160 * side / 125, -55 * side / 125)) > 0.5


def test_a_face_cut_by_the_border_is_found(yunet):
    left, top = 195, 75
    face = yunet.detect(ASTRONAUT[top:400, left:500])[0]
    inside = (0.0, 0.0, FACE_BOX[2] - left, FACE_BOX[3] - top)
    assert overlap(face.box_xyxy, inside) > 0.5


def test_a_gray_picture_in_three_channels_works(yunet):
    gray = cv2.cvtColor(cv2.cvtColor(ASTRONAUT, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    assert overlap(only(yunet.detect(gray)).box_xyxy, FACE_BOX) > 0.7


@pytest.mark.parametrize("name", ["yunet", "haar"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (20, 20), (1, 3000), (3000, 1), (33, 31)])
def test_tiny_and_thin_pictures_hold_no_face(name, shape, yunet):
    assert make_detector(name).detect(np.full((*shape, 3), 200, np.uint8)) == []


@pytest.mark.parametrize("picture", [np.zeros((240, 320, 3), np.uint8), ASTRONAUT[300:, :160]], ids=["black", "suit"])
def test_a_picture_without_a_face_gives_none(yunet, picture):
    assert yunet.detect(picture) == []


def test_views_give_what_their_copies_give(yunet):
    view = ASTRONAUT[5:400, 40:411]
    assert yunet.detect(view) == yunet.detect(view.copy())
    flipped = ASTRONAUT[:, ::-1]
    assert yunet.detect(flipped) == yunet.detect(flipped.copy())
    rgb = skimage.data.astronaut()
    assert yunet.detect(rgb[..., ::-1]) == yunet.detect(ASTRONAUT)


def test_threads_give_identical_results(yunet):
    pictures = [cv2.resize(PORTRAIT, (side, side)) for side in (90, 120, 160, 200)]
    serial = [yunet.detect(picture) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(yunet.detect, pictures * 8)) == serial * 8


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow(yunet):
    picture = cv2.resize(PORTRAIT, (160, 160))  # 77 kB: the wheel's own function would lose 23 MB in 300 calls

    def resident_mb() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

    for _ in range(20):
        yunet.detect(picture)
    before = resident_mb()
    for _ in range(300):
        yunet.detect(picture)
    assert resident_mb() - before < 4


def test_faces_below_min_face_are_left_out(yunet):
    height = FACE_BOX[3] - FACE_BOX[1]
    assert YuNetDetector(min_face=height * 0.9).detect(ASTRONAUT) != []
    assert YuNetDetector(min_face=height * 1.5).detect(ASTRONAUT) == []


def test_min_face_below_the_networks_own_enlarges(yunet):
    canvas = np.full((240, 320, 3), 127, np.uint8)
    canvas[100:135, 100:135] = cv2.resize(PORTRAIT, (35, 35), interpolation=cv2.INTER_AREA)  # the face: 14 pixels
    assert yunet.detect(canvas) == []
    face = YuNetDetector(min_face=10).detect(canvas)[0]
    assert overlap(face.box_xyxy, moved(moved(FACE_BOX, 1, -90), 35 / 280, 100, 100)) > 0.5


def test_min_score_raises_the_bar(yunet):
    score = only(yunet.detect(ASTRONAUT)).score
    assert len(YuNetDetector(min_score=score).detect(ASTRONAUT)) == 1
    assert YuNetDetector(min_score=1.0).detect(ASTRONAUT) == []


# The scale


@given(
    width=st.integers(1, 30_000),
    height=st.integers(1, 30_000),
    min_face=st.none() | st.floats(0.1, 5000, allow_nan=False),
)
def test_the_detection_picture_is_bounded(width, height, min_face):
    scale = detection_scale(width, height, NETWORK_REACH, min_face)
    assert 0 < scale <= 4
    assert width * height * scale**2 <= MAX_DETECTION_PIXELS * 1.001
    assert max(width, height) * scale < 32_767


@given(width=st.integers(400, 20_000), height=st.integers(400, 20_000))
def test_cost_does_not_grow_with_the_camera(width, height):
    scale = detection_scale(width, height, NETWORK_REACH)
    assert min(max(width, height), 2 * min(width, height)) * scale <= 1000.5
    assert width * height * scale**2 <= MAX_DETECTION_PIXELS * 1.001
    assert automatic_min_face(width, height) * scale <= NETWORK_REACH.smallest + 1e-6


def test_a_min_face_out_of_reach_is_said_once(caplog):
    detector = YuNetDetector(min_face=2)
    with caplog.at_level(logging.WARNING, "mien"):
        detector.detect(np.zeros((60, 80, 3), np.uint8))
        detector.detect(np.zeros((60, 80, 3), np.uint8))
    assert len(caplog.records) == 1
    assert "min_face 2" in caplog.text


# haar


def test_haar_gives_what_the_courses_call_gives():
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")
    gray = cv2.cvtColor(ASTRONAUT, cv2.COLOR_BGR2GRAY)
    expected = {(x, y, x + w, y + h) for x, y, w, h in cascade.detectMultiScale(gray, scaleFactor=1.3, minNeighbors=5)}
    faces = make_detector("haar").detect(ASTRONAUT)
    assert {face.box_xyxy for face in faces} == expected
    assert {(face.score, face.landmarks_xy, face.detector) for face in faces} == {(1.0, None, "haar")}


def test_haar_on_a_large_photo_gives_boxes_in_its_own_pixels():
    faces = make_detector("haar").detect(cv2.resize(ASTRONAUT, (3072, 3072)))
    assert max(overlap(face.box_xyxy, moved(FACE_BOX, 6)) for face in faces) > 0.5


def test_haar_threads_give_identical_results():
    detector = make_detector("haar")
    pictures = [cv2.resize(PORTRAIT, (side, side)) for side in (100, 150)]
    serial = [detector.detect(picture) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(detector.detect, pictures * 4)) == serial * 4


def test_haar_takes_another_cascade():
    path = Path(cv2.data.haarcascades) / "haarcascade_frontalface_alt2.xml"
    assert overlap(make_detector("haar", model=path).detect(ASTRONAUT)[0].box_xyxy, FACE_BOX) > 0.4


def test_haar_names_a_missing_or_broken_cascade(tmp_path):
    with pytest.raises(DetectorError, match=r"none\.xml: no such file"):
        make_detector("haar", model=tmp_path / "none.xml")
    broken = tmp_path / "broken.xml"
    broken.write_text("<?xml version='1.0'?><opencv_storage></opencv_storage>")
    with pytest.raises(DetectorError, match=r"broken\.xml: expected a Haar cascade"):
        make_detector("haar", model=broken)
    broken.write_text("not xml")
    with pytest.raises(DetectorError, match=r"broken\.xml: expected a Haar cascade"):
        make_detector("haar", model=broken)


def test_an_opencv_without_cascades_is_named(monkeypatch):
    monkeypatch.delattr(cv2, "CascadeClassifier")
    with pytest.raises(DetectorError, match=r"opencv-python>=4.10,<5"):
        make_detector("haar")


# whole, stub, make_detector


def test_whole_is_the_picture():
    face = only(make_detector("whole").detect(np.zeros((48, 64, 3), np.uint8)))
    assert (face.box_xyxy, face.score, face.detector) == ((0.0, 0.0, 64.0, 48.0), 1.0, "whole")


def test_stub_gives_its_faces_best_first():
    low, high, left = Face((5, 0, 9, 9), 0.3), Face((5, 5, 9, 9), 0.9), Face((0, 0, 4, 4), 0.3)
    detector = StubDetector([low, high, left])
    assert detector.detect(np.zeros((10, 10, 3), np.uint8)) == [high, left, low]
    assert detector.name == "stub"


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((9, 9), np.uint8), r"\[H, W, 3\].*found uint8 \[9, 9\].*np\.repeat"),
        (np.zeros((9, 9, 4), np.uint8), r"found uint8 \[9, 9, 4\]"),
        (np.zeros((9, 9, 3), np.float32), r"found float32 \[9, 9, 3\]"),
        (np.zeros((0, 9, 3), np.uint8), r"at least 1 x 1 pixel; found 9 x 0"),
        ("photo.jpg", r"uint8 array \[H, W, 3\]; found str"),
    ],
)
@pytest.mark.parametrize("name", [default_detector_name(), "haar", "whole"])
def test_what_is_not_a_picture_is_refused(name, picture, message):
    with pytest.raises(DetectorError, match=message):
        make_detector(name).detect(picture)


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(DetectorError, match=r"'junet'.*'yunet'.*yunet, haar, opencv-yunet, whole"):
        make_detector("junet")
    with pytest.raises(DetectorError, match="unknown detector ''"):
        make_detector("")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("whole", {"min_face": 20}, "takes no min_face"),
        ("haar", {"min_score": 0.5}, "takes no min_score"),
        ("yunet", {"model": Path("x.onnx")}, "takes no model"),
        ("haar", {"min_face": 0}, "min_face: expected a number of pixels above 0; found 0"),
        ("haar", {"min_face": float("nan")}, "min_face: .*found nan"),
        ("yunet", {"min_score": 1.5}, "min_score: expected a number from 0 to 1; found 1.5"),
    ],
)
def test_wrong_options_are_refused(name, options, message, yunet):
    with pytest.raises(DetectorError, match=message):
        make_detector(name, **options)


def test_every_detector_can_be_named_and_the_default_is_one_of_them():
    assert default_detector_name() in DETECTORS
    assert make_detector(default_detector_name()).name == default_detector_name()


def test_the_earlier_name_of_the_default_still_works():
    assert make_detector("libface", min_score=0.9).name == "yunet"
    with pytest.raises(DetectorError, match="takes no model"):
        make_detector("libface", model=Path("x.onnx"))
