"""What a model may claim: weights of its own, a seal, probabilities, finite numbers, any number of faces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.errors import BundleError, BundleMismatch, ManifestError
from mien.model import onnxfile
from mien.model.bundle import load_bundle, write_bundle
from mien.model.manifest import parse_manifest
from mien.model.session import Session
from mien.model.verify import verify_bundle
from mien.model.verify_in_process import verify_apart
from tests.models import endless_onnx, tiny_golden, tiny_manifest

onnx: Any = pytest.importorskip("onnx")

CLASSES = ["happy", "neutral", "sad"]


def model(folder: Path, *, batch: object = "N", external: bool = False, kind: str = "logits", bias: float = 0) -> Path:
    from onnx import TensorProto, helper, numpy_helper

    weights = (np.random.default_rng(0).normal(size=(64, 3)) * 1e-3).astype(np.float32) + np.float32(bias)
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["flat"], axis=1), helper.make_node("MatMul", ["flat", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 3])],
        [numpy_helper.from_array(weights, "w")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path = folder / "m.onnx"
    onnx.save(made, path, save_as_external_data=external, location="m.onnx.data", size_threshold=0)
    spec = {
        "name": "x", "layout": "NCHW", "dtype": "float32", "height": 8, "width": 8, "channels": 1, "color": "gray",
        "scale": 1.0, "mean": [0.0], "std": [1.0],
    }  # fmt: skip
    outputs = {"probabilities": None, "logits": None, kind: "y"}
    (folder / "m.manifest.json").write_text(json.dumps({"classes": CLASSES, "input": spec, "outputs": outputs}))
    return path


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_a_fixed_batch_is_run_in_pieces(tmp_path: Path, batch: int):
    crops = np.random.default_rng(1).integers(0, 256, (5, 8, 8, 1), np.uint8)
    free = Session(load_bundle(model(tmp_path))).run(crops)[0]
    fixed = Session(load_bundle(model(tmp_path, batch=batch))).run(crops)[0]
    assert np.allclose(free, fixed, atol=1e-6)


def test_weights_in_another_file_are_refused_wherever_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = model(tmp_path, external=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleError, match=r"another file \('m.onnx.data'\), which no hash covers"):
        load_bundle(path)


def test_logits_that_are_called_probabilities_are_noticed_without_golden_vectors(tmp_path: Path):
    bundle = load_bundle(model(tmp_path, kind="probabilities", bias=1))
    checks = {check.name: check for check in verify_bundle(bundle)}
    assert checks["runs"].passed is False
    assert "name it as logits" in checks["runs"].detail


def test_a_bundle_that_lost_its_seal_is_refused_unless_asked_for(tmp_path: Path):
    data = onnxfile.without(load_bundle("default").model, {"mien.sha256"}, "it")
    (tmp_path / "bare.onnx").write_bytes(data)
    with pytest.raises(BundleMismatch, match="no seal"):
        load_bundle(tmp_path / "bare.onnx")
    assert not load_bundle(tmp_path / "bare.onnx", unsealed=True).sealed


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_numbers_of_a_manifest_are_finite(tmp_path: Path, value: str):
    text = model(tmp_path).with_name("m.manifest.json").read_text().replace('"scale": 1.0', f'"scale": {value}')
    with pytest.raises(ManifestError):
        parse_manifest(text, "it")


def test_damage_in_the_entry_of_the_seal_is_noticed(tmp_path: Path):
    data = load_bundle("default").model
    entry = data.rindex(onnxfile.SEAL_KEY.encode())
    length = entry - 3
    longer = bytearray(data)
    longer[length] += 2
    longer += b"\x18\x01"  # a field that nobody reads
    (tmp_path / "longer.onnx").write_bytes(longer)
    with pytest.raises(BundleError):
        load_bundle(tmp_path / "longer.onnx")
    for at in range(entry - 4, len(data)):
        altered = bytearray(data)
        altered[at] ^= 1
        (tmp_path / "altered.onnx").write_bytes(altered)
        with pytest.raises(BundleError):
            load_bundle(tmp_path / "altered.onnx")


def test_a_graph_without_end_is_a_sentence(tmp_path: Path):
    bundle = write_bundle(tmp_path / "endless.onnx", endless_onnx(), tiny_manifest(), tiny_golden())
    with pytest.raises(BundleError, match="does not end within 4 s"):
        verify_apart(bundle, time_s=4)


def test_a_bundle_that_is_whole_passes_in_a_process_of_its_own():
    assert all(check.passed for check in verify_apart(load_bundle("default")))


@pytest.mark.parametrize(
    ("old", "new"), [('"scale": 1.0', '"scale": 0'), ('"std": [1.0]', '"std": [0]'), ('"height": 8', '"height": 99999')]
)
def test_absurd_numbers_of_a_manifest_are_refused(tmp_path: Path, old: str, new: str):
    text = model(tmp_path).with_name("m.manifest.json").read_text()
    assert old in text
    with pytest.raises(ManifestError):
        parse_manifest(text.replace(old, new), "it")
