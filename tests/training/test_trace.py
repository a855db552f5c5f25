"""`mien trace`: a bundle and its origin agree, or the first stage at which they part is named."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

pytest.importorskip("torch")

import torch
from onnx import numpy_helper

from mien.cli import main
from mien.dataset import open_dataset
from mien.errors import DatasetError, TrainingError
from mien.model.bundle import Bundle, load_bundle
from mien_train.bundles.custom_weights import export_weights
from mien_train.bundles.trace import trace
from mien_train.networks.custom_network import CustomOptions
from mien_train.networks.resnet import EmotionNet

CLASSES = ("happy", "neutral", "sad")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Color pictures that differ in every channel."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for label in CLASSES:
        (root / "validation" / label).mkdir(parents=True)
        for i in range(4):
            pixels = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8).repeat(10, 0).repeat(10, 1)
            Image.fromarray(pixels).save(root / "validation" / label / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "face_expression.pth"
    torch.save({k: v * 3 for k, v in EmotionNet(3).state_dict().items()}, path)
    return path


@pytest.fixture(scope="module")
def bundle(weights: Path) -> Bundle:
    return export_weights(weights, weights.with_name("student.onnx"), CustomOptions(classes=CLASSES)).bundle


def states(bundle: Bundle, weights: Path, data: Path) -> dict[str, bool | None]:
    return {c.name: c.passed for c in trace(bundle, weights, open_dataset(data, "validation"))}


def changed(bundle: Bundle, **manifest: object) -> Bundle:
    return replace(bundle, manifest=bundle.manifest.model_copy(update=manifest))


def with_initializer(bundle: Bundle, name: str, change: Callable[[np.ndarray], np.ndarray]) -> Bundle:
    model = onnx.load_model_from_string(bundle.model)
    (tensor,) = [t for t in model.graph.initializer if t.name == name]
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)).astype(np.float32), name))
    return replace(bundle, model=model.SerializeToString())


def test_a_bundle_agrees_with_the_weights_it_was_made_of(bundle: Bundle, weights: Path, data: Path):
    assert states(bundle, weights, data) == dict.fromkeys(
        ("classes", "pixels", "crop", "tensor", "logits", "label"), True
    )


def test_swapped_colors_show_in_the_crop_and_not_in_the_tensor(bundle: Bundle, weights: Path, data: Path):
    other = changed(bundle, input=bundle.manifest.input.model_copy(update={"color": "bgr"}))
    found = {c.name: c for c in trace(other, weights, open_dataset(data, "validation"))}
    assert found["crop"].passed is False
    assert "color: the bundle bgr, training rgb" in found["crop"].detail
    assert found["tensor"].passed
    assert found["logits"].passed


def test_another_normalization_shows_in_the_tensor(bundle: Bundle, weights: Path, data: Path):
    model = onnx.load_model_from_string(bundle.model)
    scale = next(n for n in model.graph.node if n.op_type == "Div").input[1]
    (constant,) = [n for n in model.graph.node if n.output[0] == scale]
    value = numpy_helper.to_array(constant.attribute[0].t)
    constant.attribute[0].t.CopyFrom(numpy_helper.from_array((value + 1).astype(np.float32)))
    found = states(replace(bundle, model=model.SerializeToString()), weights, data)
    assert [found[k] for k in ("pixels", "crop", "tensor", "logits")] == [True, True, False, False]


def test_other_weights_show_in_the_logits(bundle: Bundle, weights: Path, data: Path):
    other = with_initializer(bundle, "network.fc3.bias", lambda value: value + np.array([1000, 0, 0]))
    found = states(other, weights, data)
    assert [found[k] for k in ("crop", "tensor", "logits", "label")] == [True, True, False, False]


def test_another_size_is_told_and_nothing_after_it_compared(bundle: Bundle, weights: Path, data: Path):
    other = changed(bundle, input=bundle.manifest.input.model_copy(update={"height": 64}))
    found = states(other, weights, data)
    assert found["crop"] is False
    assert [found[k] for k in ("tensor", "logits", "label")] == [None] * 3


def test_pictures_that_changed_since_training_are_named(data: Path, tmp_path: Path):
    """A run remembers the pixels it saw: its cache is older than the picture."""
    from mien_train.bundles import export_run as exporting
    from mien_train.recipe import NetworkRecipe, Recipe
    from mien_train.run import train as training

    root = tmp_path / "data"
    for split in ("train", "validation"):
        for path in sorted((data / "validation").rglob("*.png")):
            target = root / split / path.parent.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes() + (b"" if split == "validation" else b" "))
            if split == "train":
                Image.fromarray(255 - np.asarray(Image.open(path))).save(target)
    recipe = Recipe(network=NetworkRecipe(widths=(4,), blocks=(1,)), size=16, epochs=1, batch_size=4, color="rgb")
    training.run(root, tmp_path / "run", recipe, 1)
    classes = exporting.open_run(tmp_path / "run").classes
    assert classes == CLASSES
    out = tmp_path / "student.onnx"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "_calibrate_crop", lambda *a: {})
        patch.setattr(exporting, "_framings", lambda reports: {"default": exporting.Framing(margin=1.0)})
        exporting.export_run(tmp_path / "run", root, out, "x", "", "", 50)
    split = open_dataset(root, "validation")
    assert all(c.passed for c in trace(load_bundle(out), tmp_path / "run", split))
    first = root / "validation/happy/0.png"
    before, size = first.stat(), first.stat().st_size
    Image.fromarray(np.zeros_like(np.asarray(Image.open(first)))).save(first)  # smaller, and filled up behind its end
    assert first.stat().st_size <= size
    first.write_bytes(first.read_bytes()[:size].ljust(size, b"\0"))
    os.utime(first, ns=(before.st_atime_ns, before.st_mtime_ns))
    found = {c.name: c for c in trace(load_bundle(out), tmp_path / "run", split)}
    assert found["pixels"].passed is False
    assert str(first) in found["pixels"].detail


def test_the_command_names_the_first_difference(
    bundle: Bundle, weights: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
):  # fmt: skip
    def run(*args: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["mien", "trace", str(bundle.path), *map(str, args)])
        with pytest.raises(SystemExit) as exit_:
            main()
        return int(exit_.value.code or 0), capsys.readouterr().out

    code, out = run(weights, "--data", data)
    assert code == 0
    assert out.count("ok") == 11
    torch.manual_seed(1)
    torch.save(EmotionNet(3).state_dict(), tmp_path / "other.pth")
    code, out = run(tmp_path / "other.pth", "--data", data, "--json")
    assert code == 2
    assert json.loads(out)["first_difference"] == "logits"
    code, _ = run(weights)
    assert code == 2


def test_what_cannot_be_traced_is_refused(bundle: Bundle, weights: Path, data: Path, tmp_path: Path):
    split = open_dataset(data, "validation")
    with pytest.raises(TrainingError, match="not a run folder"):
        trace(bundle, tmp_path, split)
    with pytest.raises(TrainingError, match="no such file"):
        trace(bundle, tmp_path / "none.pth", split)
    (tmp_path / "bad/validation/happy").mkdir(parents=True)
    (tmp_path / "bad/validation/happy/a.png").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match="none of the pictures"):
        trace(bundle, weights, open_dataset(tmp_path / "bad", "validation"))
