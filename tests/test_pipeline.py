"""The library as a user meets it."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from mien import Face, Failure, Frame, MienError, Reading, Recognizer, load_bundle, verify_bundle
from mien.detect import StubDetector
from mien.errors import MediaError
from mien.media import open_sources, read_image
from mien.model.bundle import BUNDLED, Bundle


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer(threads=1)


def same(a: list[Reading], b: list[Reading], tolerance: float = 1e-6) -> bool:
    return [r.face for r in a] == [r.face for r in b] and np.allclose(
        [r.expression.probabilities for r in a], [r.expression.probabilities for r in b], atol=tolerance
    )


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_model_computes_what_its_trainer_saw(name: str):
    bundle = load_bundle(name)
    assert [c.passed for c in verify_bundle(bundle)] == [True] * 5
    assert bundle.manifest.name == name
    assert bundle.path.with_suffix(".md").is_file()  # its model card
    assert b"site-packages" not in bundle.model  # the exporter notes where its code lay


def test_the_small_model_is_small_and_sees_the_smile(astronaut: Path):
    assert len(load_bundle("default").model) < 1e6
    (reading,) = Recognizer("large", threads=1).read(astronaut)
    assert reading.expression.label == "happy"


def test_a_path_its_bytes_and_its_pixels_read_the_same(recognizer: Recognizer, astronaut: Path):
    by_path = recognizer.read(astronaut)
    assert same(by_path, recognizer.read(str(astronaut)))
    assert same(by_path, recognizer.read(astronaut.read_bytes()))
    assert same(by_path, recognizer.read(next(read_image(astronaut)).image))


def test_the_astronaut_smiles(recognizer: Recognizer, astronaut: Path):
    (reading,) = recognizer.read(astronaut)
    assert reading.expression.label == "happy"
    assert reading.expression.confidence == max(reading.expression.as_dict().values())
    x1, y1, x2, y2 = reading.face.box_xyxy
    assert 150 < x1 < 200 < x2 < 300
    assert 40 < y1 < 100 < y2 < 210


@pytest.mark.parametrize("angle", [-25, 25])
def test_a_tilted_head_reads_like_an_upright_one(recognizer: Recognizer, astronaut: Path, angle: int):
    upright = recognizer.read(astronaut)[0].expression
    image = np.asarray(Image.open(astronaut).rotate(angle, Image.Resampling.BICUBIC))[..., ::-1]
    tilted = recognizer.read(np.ascontiguousarray(image))[0].expression
    assert tilted.label == upright.label
    assert np.abs(np.subtract(tilted.probabilities, upright.probabilities)).max() < 0.25


def test_resolution_does_not_decide(recognizer: Recognizer, astronaut: Path):
    image = next(read_image(astronaut)).image
    labels = {
        recognizer.read(cv2.resize(image, (s, s), interpolation=cv2.INTER_AREA))[0].expression.label
        for s in (220, 400, 1000, 3000)
    }
    assert labels == {"happy"}


def test_one_by_one_is_as_in_a_batch(recognizer: Recognizer, group: Path):
    frame = next(read_image(group))
    together = recognizer.read_frame(frame).readings
    alone = []
    for reading in together:
        single = Recognizer(detector=StubDetector([reading.face], reading.face.detector), threads=1)
        alone += single.read_frame(frame).readings
    assert same(list(together), alone, 1e-5)


def test_a_failure_passes_through_and_the_rest_go_on(recognizer: Recognizer, astronaut: Path, tmp_path: Path):
    (tmp_path / "a.jpg").write_bytes(b"")
    results = list(recognizer.read_all(open_sources([str(tmp_path / "a.jpg"), str(astronaut)])))
    assert isinstance(results[0], Failure)
    assert not isinstance(results[1], Failure)
    assert len(results[1].readings) == 1


def test_a_detector_that_fails_costs_one_frame(astronaut: Path):
    class Moody:
        name = "moody"
        calls = 0

        def detect(self, image: np.ndarray) -> list[Face]:
            self.calls += 1
            if self.calls == 1:
                raise MienError("not today")
            return []

    image = next(read_image(astronaut)).image
    results = list(Recognizer(detector=Moody(), threads=1).read_all([Frame(image, "a"), Frame(image, "b")]))
    assert isinstance(results[0], Failure)
    assert results[0].message == "not today"
    assert not isinstance(results[1], Failure)


def test_known_pixels_give_known_probabilities(tiny_bundle: Bundle):
    """The whole chain on a model whose answer is arithmetic: mean brightness."""
    image = np.full((60, 60, 3), 255, np.uint8)
    recognizer = Recognizer(tiny_bundle.path, StubDetector([Face((0, 0, 60, 60), 1.0)]), threads=1)
    (reading,) = recognizer.read(image)
    e = np.exp([1.0, 0.0, -1.0])
    np.testing.assert_allclose(reading.expression.probabilities, e / e.sum(), atol=1e-6)
    assert recognizer.classes == ("happy", "neutral", "sad")


def closed_file(data: bytes) -> io.BytesIO:
    file = io.BytesIO(data)
    file.close()
    return file


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (closed_file, "file: cannot be read"),
        (lambda data: Image.open(io.BytesIO(data[: len(data) // 2])), "image: the picture is truncated"),
        (lambda data: np.zeros((9, 9), np.uint8), "repeat gray in three channels"),
        (lambda data: np.zeros((9, 9, 3), np.uint16), "bring its values to 0..255"),
        (lambda data: np.zeros((0, 9, 3), np.uint8), r"found uint8 \[0, 9, 3\]$"),
    ],
)
def test_what_is_no_picture_is_refused_with_what_would_help(
    make: Callable[[bytes], Any], message: str, astronaut: Path
):
    with pytest.raises(MediaError, match=message):
        Recognizer(detector="whole", threads=1).read(make(astronaut.read_bytes()))


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_of_every_kind_are_read(kind: Callable[[bytes], Any], astronaut: Path):
    assert len(Recognizer(detector="whole", threads=1).read(kind(astronaut.read_bytes()))) == 1
