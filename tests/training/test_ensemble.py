"""Several bundles become one that answers with their mean."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

pytest.importorskip("torch")

import onnx
from onnx import numpy_helper

from mien.cli import app
from mien.errors import OutputError, TrainingError
from mien.model.bundle import Bundle, load_bundle, read_bundle, write_bundle
from mien.model.manifest import InputSpec, OutputSpec
from mien.model.session import Session
from mien.model.verify import verify_bundle
from mien_train.bundles.ensemble import averaged, ensemble, merge
from tests.models import tiny_golden, tiny_manifest, tiny_onnx
from tests.training.test_train import squares

SPEC = InputSpec(height=16, width=16, channels=1, color="gray")
CLASSES = ("bright", "dark", "striped")


def member(
    path: Path, slope: list[float], classes: tuple[str, ...] = CLASSES, learned: str = "slope", **changes: object
) -> Bundle:
    """A sealed bundle whose logits are (mean brightness - 0.5) x slope; `learned` is the slope's name in the graph."""
    model = onnx.load_model_from_string(tiny_onnx(size=16))
    (found,) = [i for i in model.graph.initializer if i.name == "slope"]
    found.CopyFrom(numpy_helper.from_array(np.array([slope], np.float32), learned))
    for node in model.graph.node:
        node.input[:] = [learned if name == "slope" else name for name in node.input]
    manifest = tiny_manifest(**{"name": path.stem, "classes": classes, "input": SPEC, **changes})
    golden = tiny_golden(16)
    bare = Bundle(path, model.SerializeToString(), manifest, golden, sealed=False)
    exact = type(golden)(golden.crops, Session(bare, threads=1).run(golden.crops)[0])
    return write_bundle(path, bare.model, manifest, exact)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return squares(tmp_path_factory.mktemp("squares"))


def crops(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (5, 16, 16, 1)).astype(np.uint8)


@settings(max_examples=10, deadline=None)
@given(slopes=st.lists(st.lists(st.floats(-9, 9, width=32), min_size=3, max_size=3), min_size=2, max_size=4))
def test_it_says_the_mean_of_what_its_members_say(slopes: list[list[float]], tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("members")
    members = [member(folder / f"{i}.onnx", slope) for i, slope in enumerate(slopes)]
    merged = Bundle(folder / "all.onnx", merge(members), members[0].manifest, None, sealed=False)
    faces = crops()
    logs = np.mean([np.log(Session(m, threads=1).run(faces)[0]) for m in members], axis=0)
    expected = np.exp(logs) / np.exp(logs).sum(axis=1, keepdims=True)
    probabilities, logits = Session(merged, threads=1).run(faces)
    np.testing.assert_allclose(logits, logs, atol=1e-4)
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)


def test_members_may_have_their_classes_in_another_order(tmp_path: Path):
    one = member(tmp_path / "one.onnx", [3, 0, -3])
    other = member(tmp_path / "other.onnx", [-3, 0, 3], tuple(reversed(CLASSES)))
    merged = Bundle(tmp_path / "both.onnx", merge([one, other]), one.manifest, None, sealed=False)
    np.testing.assert_allclose(
        Session(merged, threads=1).run(crops())[0], Session(one, threads=1).run(crops())[0], atol=1e-5
    )


def test_the_command_writes_a_bundle_that_verifies_and_says_what_it_gains(data: Path, tmp_path: Path):
    paths = [tmp_path / "bright.onnx", tmp_path / "dark.onnx"]
    member(paths[0], [9, -1, 0], training={"data": "drawn squares", "license": "CC0"})
    member(paths[1], [1, -9, 0], training={"data": "drawn squares", "license": "CC0"})
    out = tmp_path / "both.onnx"
    command = ["ensemble", *map(str, paths), "--data", str(data), "--out", str(out)]
    done = CliRunner().invoke(app, [*command, "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert [m["name"] for m in said["members"]] == [str(p) for p in paths]
    bundle = load_bundle(out)
    assert all(check.passed for check in verify_bundle(bundle, threads=1))
    assert bundle.manifest.training.data == "drawn squares"
    assert [m["name"] for m in bundle.manifest.training.recipe["ensemble"]] == ["bright", "dark"]  # type: ignore[index,union-attr]
    measured = {m.name: m.value for m in bundle.manifest.metrics}
    assert measured["accuracy"] == pytest.approx(said["together"]["qualities"][0]["value"]["value"], abs=1e-4)
    assert measured["accuracy"] > 0.6  # bright and dark are told apart by brightness alone

    again = CliRunner().invoke(app, command)
    assert isinstance(again.exception, OutputError)
    table = CliRunner().invoke(app, [*command, "--overwrite"])
    assert "together" in table.output
    assert load_bundle(out).manifest.classes == CLASSES


def test_an_ensemble_may_be_a_member(tmp_path: Path, data: Path):
    one, two = member(tmp_path / "one.onnx", [9, -1, 0]), member(tmp_path / "two.onnx", [1, -9, 0])
    both = ensemble([str(one.path), str(two.path)], data, tmp_path / "both.onnx").bundle
    merged = Bundle(tmp_path / "more.onnx", merge([both, one]), one.manifest, None, sealed=False)
    logs = np.mean([np.log(Session(m, threads=1).run(crops())[0]) for m in (both, one)], axis=0)
    np.testing.assert_allclose(Session(merged, threads=1).run(crops())[1], logs, atol=1e-4)


@settings(max_examples=10, deadline=None)
@given(slopes=st.lists(st.lists(st.floats(-9, 9, width=32), min_size=3, max_size=3), min_size=2, max_size=4))
def test_averaged_weights_are_one_network(slopes: list[list[float]], tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("members")
    members = [member(folder / f"{i}.onnx", s, learned="network.slope") for i, s in enumerate(slopes)]
    model = averaged(members)
    assert len(onnx.load_model_from_string(model).graph.node) == len(
        onnx.load_model_from_string(members[0].model).graph.node
    )
    one = Bundle(folder / "one.onnx", model, members[0].manifest, None, sealed=False)
    # Its logits are linear in the slopes, so here the mean of the weights gives the mean of the logits.
    expected = np.mean([Session(m, threads=1).run(crops())[1] for m in members], axis=0)
    np.testing.assert_allclose(Session(one, threads=1).run(crops())[1], expected, atol=1e-4)


def test_the_command_averages_weights(data: Path, tmp_path: Path):
    paths = [tmp_path / "one.onnx", tmp_path / "two.onnx"]
    member(paths[0], [9, -1, 0], learned="network.slope", training={"recipe": {"epochs": 3}})
    member(paths[1], [1, -9, 0], learned="network.slope", training={"recipe": {"epochs": 4}})
    out = tmp_path / "mean.onnx"
    command = ["ensemble", *map(str, paths), "--data", str(data), "--out", str(out), "--average-weights"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    bundle = load_bundle(out)
    assert all(check.passed for check in verify_bundle(bundle, threads=1))
    recipe = bundle.manifest.training.recipe
    assert recipe["epochs"] == 4  # so that the recipe is there to go on from it
    assert [m["name"] for m in recipe["averaged"]] == ["one", "two"]  # type: ignore[index,union-attr]
    assert "--average-weights" in bundle.manifest.metrics[0].command


def test_weights_of_unlike_networks_are_not_averaged(tmp_path: Path):
    one = member(tmp_path / "one.onnx", [9, -1, 0], learned="network.slope")
    with pytest.raises(TrainingError, match=r"network.head: none\), found float32 \[1, 3\]"):
        averaged([one, member(tmp_path / "other.onnx", [9, -1, 0], learned="network.head")])
    turned = member(tmp_path / "turned.onnx", [1, 0, 0], tuple(reversed(CLASSES)), learned="network.slope")
    with pytest.raises(TrainingError, match="classes in the order of"):
        averaged([one, turned])
    graph = onnx.load_model_from_string(one.model)
    graph.graph.node.insert(0, onnx.helper.make_node("Identity", [SPEC.name], ["seen"]))
    longer = Bundle(tmp_path / "longer.onnx", graph.SerializeToString(), one.manifest, None, sealed=True)
    with pytest.raises(TrainingError, match="computes otherwise"):
        averaged([one, longer])
    with pytest.raises(TrainingError, match="at least two"):
        averaged([one])
    nameless = [member(tmp_path / f"{i}.onnx", [1, 2, 3]) for i in range(2)]
    with pytest.raises(TrainingError, match="weights in floats"):
        averaged(nameless)


def test_what_does_not_go_together_is_refused(tmp_path: Path, data: Path):
    one = member(tmp_path / "one.onnx", [9, -1, 0])
    with pytest.raises(TrainingError, match="at least two bundles, found 1"):
        merge([one])
    with pytest.raises(TrainingError, match=r"expected the classes of .*striped.*, found happy"):
        merge([one, member(tmp_path / "others.onnx", [1, 2, 3], ("happy", "neutral", "sad"))])
    size = InputSpec(height=48, width=48, channels=1, color="gray")
    larger = tiny_manifest(classes=CLASSES, input=size)
    large = write_bundle(tmp_path / "large.onnx", tiny_onnx(), larger, tiny_golden())
    with pytest.raises(TrainingError, match=r"expected the input of .* \(16 x 16 gray .*found 48 x 48"):
        merge([one, large])
    bare = Bundle(tmp_path / "bare.onnx", tiny_onnx(size=16), one.manifest, None, sealed=False)
    with pytest.raises(TrainingError, match="without a seal"):
        merge([one, bare])
    older = onnx.load_model_from_string(tiny_onnx(size=16))
    older.opset_import[0].version = 17
    old = read_bundle(one.model, tmp_path / "old.onnx")
    old = Bundle(old.path, older.SerializeToString(), old.manifest, old.golden, sealed=True)
    with pytest.raises(TrainingError, match="operator sets"):
        merge([one, old])
    silent = one.manifest.model_copy(update={"outputs": OutputSpec(probabilities=None)})
    with pytest.raises(TrainingError, match="expected a bundle that mien made"):
        merge([one, Bundle(one.path, one.model, silent, one.golden, sealed=True)])
    with pytest.raises(OutputError, match=r"ends in \.onnx"):
        ensemble([str(one.path)] * 2, data, tmp_path / "both.pt")
    faces = member(tmp_path / "faces.onnx", [1, 2, 3], ("happy", "neutral", "sad"))
    with pytest.raises(TrainingError, match="expected the bundles' classes"):
        ensemble([str(faces.path)] * 2, data, tmp_path / "both.onnx")
