"""What training shows as a detector's view is what inference cuts."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

pytest.importorskip("torch")

import torch

from mien.detect import StubDetector
from mien.errors import TrainingError
from mien.model.crop import cut
from mien.model.manifest import CropSpec, InputSpec
from mien.records import Face, Image
from mien_train.data.augment import augment
from mien_train.data.detected_views import FRAMING, detected_views
from mien_train.data.framing import framing_of, on_canvas
from mien_train.recipe import AugmentRecipe, Recipe
from mien_train.run import loop
from mien_train.run import train as training
from tests.progress import Told
from tests.training.test_train import OFF, RECIPE, squares

SPEC = InputSpec(height=48, width=48, channels=1, color="gray")


class Wavering:
    """A detector whose boxes and eyes differ from picture to picture."""

    name = "wavering"

    def __init__(self) -> None:
        self.found: list[Face] = []

    def detect(self, image: Image) -> list[Face]:
        rng = np.random.default_rng(int(image.astype(np.int64).sum()))  # the same for the same picture, in any order
        left, top = 96 + rng.uniform(-20, 30, 2)
        width, height = rng.uniform(130, 170, 2)
        eyes = ((left + 40, top + 40), (left + 100, top + 40 + float(rng.uniform(-15, 15))))
        face = Face(
            (float(left), float(top), float(left + width), float(top + height)), 1.0, (*eyes, *[(0.0, 0.0)] * 3), "x"
        )
        return [face]


@pytest.fixture
def crops(astronaut: Path) -> np.ndarray:
    """30 gray crops of a face, each in another light."""
    gray = np.asarray(PillowImage.open(astronaut).convert("L").resize((48, 48)))
    return np.stack([np.clip(gray.astype(int) + 2 * n, 0, 255).astype(np.uint8)[..., None] for n in range(30)])


def test_training_sees_what_inference_cuts(crops: np.ndarray):
    detector = Wavering()
    rows = np.arange(30)
    views = detected_views(crops, rows, detector, "eyes")
    assert np.isfinite(views).all()
    faces = [detector.detect(on_canvas(crop))[0] for crop in crops]
    framing = framing_of(faces, (192, 192), "eyes", 30).framing
    spec = CropSpec(align="eyes", framings={"default": framing})
    wanted = np.concatenate([cut(on_canvas(c), [f], spec, SPEC) for c, f in zip(crops, faces, strict=True)])[..., 0]

    x = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255
    still = OFF.model_copy(update={"flip": False})
    for seed in itertools.count():  # until the batch has gray around it, as the canvas has
        seen = augment(x, still, torch.Generator().manual_seed(seed), torch.from_numpy(views))[:, 0].numpy() * 255
        if (off := np.abs(seen - wanted).mean()) < 4:
            break
        assert seed < 20, off
    assert np.abs(crops[..., 0] - wanted.astype(float)).mean() > 4 * off


def test_views_of_missing_faces_are_nan(crops: np.ndarray):
    rows = np.arange(0, 30, 1)[:25]
    views = detected_views(crops, rows, Wavering(), "none")
    assert np.isnan(views[25:]).all()
    assert (views[:25, 3] == 0).all()  # not turned
    with pytest.raises(TrainingError, match="finds a face in 10 of 10"):
        detected_views(crops, rows[:10], Wavering(), "none")


def test_whole_pictures_are_zeros():
    x = torch.rand(8, 1, 32, 32)
    y = augment(x, OFF.model_copy(update={"flip": False}), torch.Generator().manual_seed(1), torch.zeros(8, 4))
    torch.testing.assert_close(y, x, atol=1e-5, rtol=0)


def test_a_recipe_may_ask_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    square = Face((32.0, 32.0, 96.0, 90.0), 1.0, None, "stub")
    monkeypatch.setattr(loop, "make_detector", lambda name: StubDetector([square]))
    recipe = Recipe.model_validate(
        {**RECIPE.model_dump(), "epochs": 1, "detected_share": 0.5, "augment": AugmentRecipe()}
    )
    said = Told()
    training.run(
        squares(tmp_path / "data"), tmp_path / "run", recipe, 1,
        progress=said,
    )  # fmt: skip
    assert FRAMING in said.names
    assert list((tmp_path / "run" / "cache").glob("views-stub-*.npz"))
