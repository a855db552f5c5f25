"""`mien export BUNDLE --for si100b-bench`: the contest's preprocessing, written here again, gives mien's answers."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")

import onnx
import onnxruntime

from mien.model.bundle import load_bundle, write_bundle
from mien.model.crop import cut, whole_face
from mien.model.manifest import CropSpec, InputSpec
from mien.model.session import Session
from tests.models import tiny_golden, tiny_manifest, tiny_onnx

Run = Callable[..., tuple[int, str, str]]
SEVEN = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]


def contest_input(image: Image.Image, channels: int, side: int) -> np.ndarray:
    """As the contest prepares a picture: PIL bilinear, 0..1, its own mean and standard deviation, `[1, C, S, S]`."""
    small = image.convert("L" if channels == 1 else "RGB").resize((side, side), Image.Resampling.BILINEAR)
    pixels = np.asarray(small, np.float32).reshape(side, side, channels) / 255
    mean, std = ([0.5077], [0.2551]) if channels == 1 else ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    return ((pixels - np.float32(mean)) / np.float32(std)).transpose(2, 0, 1)[None]


def faces() -> list[Image.Image]:
    """Parts of the bundled portrait, in several sizes."""
    with Image.open(str(resources.files("mien") / "samples/astronaut.jpg")) as picture:
        whole = picture.convert("RGB")
    return [whole.crop((150 + i, 20, 310 + 3 * i, 180 + 2 * i)) for i in range(0, 40, 8)]


@pytest.mark.parametrize("prior", ["training", "even"])
def test_the_contest_s_file_answers_as_the_bundle_does(prior: str, mien: Run, tmp_path: Path):
    out = tmp_path / "entry.onnx"
    code, text, _ = mien("export", "default", "--for", "si100b-bench", "--prior", prior, "--out", out)
    assert code == 0
    assert f"prior {prior}" in text
    model = onnx.load(str(out))
    onnx.checker.check_model(model)
    assert max(i.version for i in model.opset_import if i.domain == "") <= 21
    assert model.ir_version <= 10
    session = onnxruntime.InferenceSession(out.read_bytes(), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    assert (given.type, given.shape[1:]) == ("tensor(float)", [1, 48, 48])
    assert session.get_outputs()[0].shape[1] == 7

    bundle = load_bundle("default")
    answer = bundle.manifest.label_answer
    batch = np.concatenate([contest_input(face, 1, 48) for face in faces()])
    found = session.run(None, {given.name: batch})[0]
    crops = np.stack(
        [np.asarray(face.convert("L").resize((48, 48), Image.Resampling.BILINEAR))[..., None] for face in faces()]
    )
    probabilities, _ = Session(bundle, threads=1, answer=answer.name or None).run(crops)
    if prior == "even":
        probabilities = probabilities / np.array([answer.prior[c] for c in answer.classes], np.float32)
    expected = probabilities[:, [answer.classes.index(c) for c in SEVEN]]
    powers = np.exp(found - found.max(axis=1, keepdims=True))
    np.testing.assert_allclose(
        powers / powers.sum(axis=1, keepdims=True), expected / expected.sum(axis=1, keepdims=True), atol=1e-3
    )


@pytest.mark.parametrize("color", ["rgb", "bgr", "gray"])
def test_any_bundle_becomes_a_plain_file(color: str, mien: Run, tmp_path: Path):
    channels = 1 if color == "gray" else 3
    spec = InputSpec(height=48, width=48, channels=channels, color=color)  # type: ignore[arg-type]
    golden = tiny_golden()
    golden = golden if channels == 1 else type(golden)(golden.crops.repeat(3, axis=3), golden.probabilities)
    write_bundle(tmp_path / "b.onnx", tiny_onnx(channels=channels), tiny_manifest(input=spec), golden)
    out = tmp_path / "plain.onnx"
    scale = ("--mean", "0.5", "--std", "0.25")
    command = ("export", tmp_path / "b.onnx", "--layout", "nchw", *scale, "--output", "probabilities", "--out", out)
    assert mien(*command)[0] == 0
    session = onnxruntime.InferenceSession(out.read_bytes(), providers=["CPUExecutionProvider"])
    pixels = np.random.default_rng(0).integers(0, 256, (3, 48, 48, channels), dtype=np.uint8)
    shown = pixels[..., ::-1] if color == "bgr" else pixels
    tensor = ((shown.astype(np.float32) / 255 - 0.5) / 0.25).transpose(0, 3, 1, 2)
    expected, _ = Session(load_bundle(tmp_path / "b.onnx"), threads=1).run(pixels)
    np.testing.assert_allclose(session.run(None, {"input": np.ascontiguousarray(tensor)})[0], expected, atol=1e-5)
    code, _, error = mien(*command)
    assert code == 2
    assert "exists already" in error


def test_another_size_and_color_go_through_the_graph(mien: Run, tmp_path: Path):
    out = tmp_path / "plain.onnx"
    command = ("export", "default", "--layout", "nchw", "--size", "96", "--color", "rgb", "--std", "1", "--out", out)
    assert mien(*command)[0] == 0
    session = onnxruntime.InferenceSession(out.read_bytes(), providers=["CPUExecutionProvider"])
    face = faces()[0].resize((96, 96))
    tensor = (np.asarray(face, np.float32) / 255).transpose(2, 0, 1)[None]
    found = session.run(None, {"input": tensor})[0]
    bundle = load_bundle("default")
    image = np.asarray(face)[..., ::-1]
    crop = cut(np.ascontiguousarray(image), [whole_face(image)], CropSpec(), bundle.manifest.input)
    expected, _ = Session(bundle, threads=1).run(crop)
    assert int(found.argmax()) == int(expected.argmax())


def test_a_bundle_that_does_not_fit_is_refused(mien: Run, tmp_path: Path):
    path = tmp_path / "b.onnx"
    write_bundle(path, tiny_onnx(), tiny_manifest(), tiny_golden())
    for options, message in (
        (("--for", "si100b-bench"), "the contest wants the classes angry"),
        (("--layout", "nchw", "--mean", "0.1,0.2"), "for each of 1 channels"),
        (("--layout", "nchw", "--std", "0"), "positive std"),
        (("--layout", "nchw", "--prior", "even"), "does not say how common each class was"),
        (("--for", "si100b-bench", "--mean", "0.5"), "are fixed with"),
    ):
        code, _, error = mien("export", path, *options, "--out", tmp_path / "p.onnx")
        assert code == 2
        assert message in " ".join(error.replace("│", " ").split())
    assert not (tmp_path / "p.onnx").exists()
