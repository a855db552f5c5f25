"""Bundles: what is written comes back, what is wrong is refused with the two values and the remedy."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from mien.errors import BundleError, BundleMismatch, ManifestError, RegistryError
from mien.model import onnxfile
from mien.model.bundle import Bundle, load_bundle, read_bundle, write_bundle
from mien.model.manifest import InputSpec, Manifest, OutputSpec, parse_manifest
from mien.model.session import Session
from mien.model.verify import verify_bundle
from tests.models import CLASSES, tiny_golden, tiny_manifest, tiny_onnx

GRAY = {"height": 48, "width": 48, "channels": 1, "color": "gray"}


def test_a_written_bundle_reads_back_equal(tiny_bundle: Bundle):
    again = load_bundle(tiny_bundle.path)
    assert again.manifest == tiny_bundle.manifest
    assert again.manifest.classes == CLASSES
    assert again.golden is not None
    np.testing.assert_array_equal(again.golden.crops, tiny_golden().crops)
    assert again.sealed


def test_the_file_stays_a_valid_onnx_model(tiny_bundle: Bundle):
    model = onnx.load(tiny_bundle.path)
    onnx.checker.check_model(model)
    entries = {e.key: e.value for e in model.metadata_props}
    assert entries == onnxfile.metadata(tiny_bundle.model, "tiny")
    assert parse_manifest(entries["mien.manifest"], "tiny") == tiny_bundle.manifest


def test_writing_twice_gives_the_same_bytes(tiny_bundle: Bundle, tmp_path: Path):
    again = write_bundle(tmp_path / "again.onnx", tiny_bundle.model, tiny_bundle.manifest, tiny_golden())
    assert again.model == tiny_bundle.model


def test_every_check_passes_on_a_fresh_bundle(tiny_bundle: Bundle):
    assert [c.passed for c in verify_bundle(tiny_bundle)] == [True] * 5


def test_probabilities_are_the_known_ones(tiny_bundle: Bundle):
    golden = tiny_golden()
    probabilities, logits = Session(tiny_bundle, threads=1).run(golden.crops)
    np.testing.assert_allclose(probabilities, golden.probabilities, atol=1e-6)
    np.testing.assert_allclose(logits[2], [1, 0, -1], atol=1e-6)


def test_no_crops_give_no_rows(tiny_bundle: Bundle):
    probabilities, logits = Session(tiny_bundle, threads=1).run(np.empty((0, 48, 48, 1), np.uint8))
    assert probabilities.shape == logits.shape == (0, 3)


def test_crops_of_another_shape_are_refused(tiny_bundle: Bundle):
    with pytest.raises(BundleMismatch, match=r"expected crops uint8 \[N, 48, 48, 1\], found uint8 \[2, 32, 32, 1\]"):
        Session(tiny_bundle, threads=1).run(np.zeros((2, 32, 32, 1), np.uint8))


@given(position=st.integers(0, 10**9), bit=st.integers(0, 7))
def test_any_flipped_bit_is_noticed(position: int, bit: int):
    data = bytearray(_sealed())
    data[position % len(data)] ^= 1 << bit
    with pytest.raises(BundleError):
        _must_be_intact(read_bundle(bytes(data), Path("tiny.onnx")))


@given(share=st.floats(0, 0.999))
def test_a_file_cut_short_is_noticed(share: float):
    data = _sealed()
    with pytest.raises(BundleError):
        _must_be_intact(read_bundle(data[: int(len(data) * share)], Path("tiny.onnx")))


@given(st.binary(max_size=300))
def test_random_bytes_are_not_a_bundle(data: bytes):
    with pytest.raises(BundleError):
        read_bundle(data, Path("random.onnx"))


def test_an_altered_manifest_is_refused(tiny_bundle: Bundle, tmp_path: Path):
    swapped = tiny_bundle.model.replace(b'"sad"', b'"mad"')
    (tmp_path / "swapped.onnx").write_bytes(swapped)
    with pytest.raises(BundleMismatch, match="altered"):
        load_bundle(tmp_path / "swapped.onnx")


def test_a_text_file_is_not_a_bundle(tmp_path: Path):
    (tmp_path / "notes.onnx").write_text("this is not a model")
    with pytest.raises(BundleError, match=r"not an ONNX model.*expected a \.onnx file"):
        load_bundle(tmp_path / "notes.onnx")


def test_a_pickle_is_never_opened(tmp_path: Path):
    path = tmp_path / "face_expression.pth"
    path.write_bytes(pickle.dumps(_Bomb()))
    with pytest.raises(BundleError, match="never unpickles"):
        load_bundle(path)


def test_unknown_name_lists_what_there_is():
    with pytest.raises(RegistryError, match=r"no model called 'defualt'.*default"):
        load_bundle("defualt")


def test_onnx_without_manifest_is_told_where_to_put_one(tmp_path: Path):
    (tmp_path / "other.onnx").write_bytes(tiny_onnx())
    with pytest.raises(ManifestError, match=r"other\.manifest\.json"):
        load_bundle(tmp_path / "other.onnx")


def test_other_peoples_onnx_works_with_a_sidecar(tmp_path: Path):
    """Float NCHW, RGB, ImageNet-like scaling, logits only by name: what is found in the wild."""
    model = tiny_onnx(channels=3, dtype=TensorProto.FLOAT, layout="NCHW", input_name="input", logits="out")
    (tmp_path / "other.onnx").write_bytes(model)
    spec = InputSpec(
        name="input", layout="NCHW", dtype="float32", height=48, width=48, channels=3, color="rgb",
        scale=1 / 255, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0),
    )  # fmt: skip
    manifest = Manifest(classes=CLASSES, input=spec, outputs=OutputSpec(probabilities=None, logits="out"))
    (tmp_path / "other.manifest.json").write_text(manifest.to_json())
    bundle = load_bundle(tmp_path / "other.onnx")
    assert [c.passed for c in verify_bundle(bundle)] == [None, None, True, True, None]
    probabilities, logits = Session(bundle, threads=1).run(np.full((2, 48, 48, 3), 255, np.uint8))
    np.testing.assert_allclose(logits, [[1, 0, -1]] * 2, atol=1e-5)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def test_a_sidecar_that_contradicts_the_bundle_is_refused(tiny_bundle: Bundle, tmp_path: Path):
    (tmp_path / "tiny.manifest.json").write_text(tiny_manifest(classes=("a", "b", "c")).to_json())
    with pytest.raises(BundleMismatch, match="says something else"):
        load_bundle(tiny_bundle.path)


@pytest.mark.parametrize(
    ("model", "manifest", "message"),
    [
        (tiny_onnx(classes=4), tiny_manifest(), "the manifest says 3 classes, the graph has 4"),
        (
            tiny_onnx(size=64),
            tiny_manifest(),
            r"the manifest says \['N', 48, 48, 1\], the graph has \['N', 64, 64, 1\]",
        ),
        (tiny_onnx(input_name="x"), tiny_manifest(), r"the manifest says \['faces'\], the graph has \['x'\]"),
        (tiny_onnx(dtype=TensorProto.FLOAT), tiny_manifest(), "the manifest says uint8, the graph has float32"),
        (tiny_onnx(probabilities="p"), tiny_manifest(), "the manifest says probabilities, the graph has"),
    ],
)
def test_a_manifest_that_contradicts_the_graph_is_refused(
    model: bytes, manifest: Manifest, message: str, tmp_path: Path
):
    bundle = write_bundle(tmp_path / "odd.onnx", model, manifest, tiny_golden())
    with pytest.raises(BundleMismatch, match=message):
        Session(bundle, threads=1)


def test_golden_vectors_show_a_model_that_computes_something_else(tmp_path: Path):
    golden = tiny_golden()
    golden.probabilities[0] = golden.probabilities[0][::-1]
    bundle = write_bundle(tmp_path / "wrong.onnx", tiny_onnx(), tiny_manifest(), golden)
    check = verify_bundle(bundle)[-1]
    assert check.passed is False
    assert "largest difference" in check.detail


def test_a_model_that_gives_no_numbers_is_an_error(tmp_path: Path):
    model = onnx.load_from_string(tiny_onnx())
    (scale,) = [t for t in model.graph.initializer if t.name == "scale"]
    scale.CopyFrom(onnx.numpy_helper.from_array(np.float32("nan"), "scale"))
    bundle = write_bundle(tmp_path / "nan.onnx", model.SerializeToString(), tiny_manifest(), tiny_golden())
    with pytest.raises(BundleError, match="not finite"):
        Session(bundle, threads=1).run(np.zeros((1, 48, 48, 1), np.uint8))


def test_an_unwritable_place_is_an_error_and_leaves_nothing(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="cannot be made"):
        write_bundle(tmp_path / "file" / "x.onnx", tiny_onnx(), tiny_manifest(), tiny_golden())


# --- the manifest -------------------------------------------------------------------------------------------------


def test_a_manifest_survives_json():
    manifest = tiny_manifest()
    assert parse_manifest(manifest.to_json(), "x") == manifest


def test_unknown_fields_of_a_later_writer_are_ignored():
    values = json.loads(tiny_manifest().to_json()) | {"new_in_1_1": True}
    assert parse_manifest(json.dumps(values), "x") == tiny_manifest()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, "schema_version"),
        ({"classes": ["happy"]}, "classes"),
        ({"classes": ["happy", "Happy"]}, "must differ"),
        ({"input": GRAY | {"channels": 3}}, "does not go with"),
        ({"input": GRAY | {"scale": 0.5}}, "normalizes inside"),
        ({"input": {**GRAY, "height": 0}}, "input.height"),
        ({"crop": {"framings": {"libface": {"margin": 1}}}}, "'default'"),
        ({"outputs": {"probabilities": None, "logits": None}}, "at least one"),
        ({"calibration": {"temperature": 0}}, "calibration.temperature"),
    ],
)
def test_a_broken_field_is_named(change: dict[str, object], message: str):
    values = json.loads(tiny_manifest().to_json()) | change
    with pytest.raises(ManifestError, match=message) as error:
        parse_manifest(json.dumps(values), "model.onnx")
    assert str(error.value).startswith("model.onnx: ")


def test_a_manifest_that_is_not_json_is_refused():
    with pytest.raises(ManifestError):
        parse_manifest("{", "x")


class _Bomb:
    def __reduce__(self):
        return shutil.rmtree, ("/nonexistent-on-purpose",)


_cache: list[bytes] = []


def _sealed() -> bytes:
    if not _cache:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            _cache.append(write_bundle(Path(folder) / "t.onnx", tiny_onnx(), tiny_manifest(), tiny_golden()).model)
    return _cache[0]


def _must_be_intact(bundle: Bundle) -> None:
    """A damaged seal entry makes the file unsealed: then the checks of `verify` must not claim a seal."""
    if not bundle.sealed:
        raise BundleError("not sealed")


def test_the_terms_of_the_first_bundles_are_read_and_written_anew(tiny_bundle: Bundle):
    values = json.loads(tiny_bundle.manifest.to_json())
    del values["training"]["license"]
    values["training"]["licence"] = "MIT"
    manifest = parse_manifest(json.dumps(values), "x")
    assert manifest.training.license == "MIT"
    assert json.loads(manifest.to_json())["training"]["license"] == "MIT"
