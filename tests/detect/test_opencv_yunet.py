"""The detector `opencv-yunet`, against a stub of cv2.FaceDetectorYN: mien does not ship the model's file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from mien.detect import make_detector
from mien.detect.opencv_yunet import MODEL_FILE, OpenCVYuNetDetector
from mien.errors import DetectorError
from mien.records import Face, Image


def only(faces: list[Face]) -> Face:
    assert len(faces) == 1, faces
    return faces[0]


class StubYN:
    """Answers with one face at fixed shares of the picture; refuses a picture of a size that was not announced."""

    def __init__(self, *arguments: object) -> None:
        self.arguments = arguments
        self.size = (0, 0)

    def setInputSize(self, size: tuple[int, int]) -> None:
        self.size = size

    def detect(self, picture: Image) -> tuple[int, np.ndarray | None]:
        width, height = self.size
        assert picture.shape == (height, width, 3)
        if not picture.any():
            return 1, None
        box_and_landmarks = np.array(
            [0.2, 0.3, 0.4, 0.4, 0.3, 0.4, 0.5, 0.4, 0.4, 0.5, 0.3, 0.6, 0.5, 0.6], np.float32
        ) * np.tile(np.array([width, height], np.float32), 7)
        return 1, np.append(box_and_landmarks, np.float32(0.95))[None]


@pytest.fixture
def stub_yn(monkeypatch):
    made: list[StubYN] = []

    def create(*arguments: object) -> StubYN:
        made.append(StubYN(*arguments))
        return made[-1]

    monkeypatch.setattr(cv2, "FaceDetectorYN", SimpleNamespace(create=create))
    return made


@pytest.fixture
def model(tmp_path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not really a network")
    return path


def test_opencv_yunet_maps_boxes_and_landmarks_to_the_frame(stub_yn, model):
    detector = OpenCVYuNetDetector(model, sha256=hashlib.sha256(model.read_bytes()).hexdigest(), min_score=0.7)
    face = only(detector.detect(np.full((1500, 3000, 3), 9, np.uint8)))
    np.testing.assert_allclose(face.box_xyxy, (600, 450, 1800, 1050), rtol=1e-3)
    expected = [(900, 600), (1500, 600), (1200, 750), (900, 900), (1500, 900)]
    np.testing.assert_allclose(face.landmarks_xy, expected, rtol=1e-3)
    assert face.score == pytest.approx(0.95)
    assert face.detector == "opencv-yunet"
    assert stub_yn[0].arguments == (str(model), "", (320, 320), 0.7, 0.3, 5000)


def test_opencv_yunet_without_faces_gives_none(stub_yn, model):
    assert OpenCVYuNetDetector(model, sha256=None).detect(np.zeros((50, 60, 3), np.uint8)) == []


def test_opencv_yunet_refuses_another_file_with_both_hashes(model):
    found = hashlib.sha256(model.read_bytes()).hexdigest()
    with pytest.raises(DetectorError, match=rf"expected sha256 8f2383e4dd3c.*found {found}"):
        make_detector("opencv-yunet", model=model)


def test_opencv_yunet_looks_in_the_data_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("MIEN_DATA", str(tmp_path))
    with pytest.raises(DetectorError, match=r"no such file.*opencv_zoo") as missing:
        make_detector("opencv-yunet")
    assert str(tmp_path / MODEL_FILE) in str(missing.value)
    (tmp_path / MODEL_FILE).write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(DetectorError, match="expected sha256"):
        make_detector("opencv-yunet")


def test_opencv_yunet_names_a_file_that_opencv_cannot_load(model):
    with pytest.raises(DetectorError, match=r"model\.onnx: OpenCV cannot load"):
        OpenCVYuNetDetector(model, sha256=None)
