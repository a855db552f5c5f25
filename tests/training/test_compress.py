"""Compressing a tiny network that was trained on drawn squares."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("torch")

import onnx
import torch

from mien.cli import app
from mien.errors import OutputError, TrainingError
from mien.model.bundle import Bundle, load_bundle, write_bundle
from mien.model.session import Session, softmax
from mien.model.verify import verify_bundle
from mien_train.bundles import compress
from mien_train.bundles import derived as finish
from mien_train.bundles import export_run as exporting
from mien_train.bundles.compress import Compression
from mien_train.bundles.prune import fine_tuning, parent_recipe
from mien_train.bundles.quantize import quantize, with_temperature
from mien_train.bundles.to_onnx import DeployedNetwork, make_golden, to_onnx
from mien_train.data import tensors
from mien_train.data.packs import load_training_data
from mien_train.networks.initial import load_initial, network_of
from mien_train.networks.narrow import narrowed
from mien_train.networks.resnet import build_network, inner_width
from mien_train.recipe import AugmentRecipe, NetworkRecipe, Recipe
from mien_train.run import folder as runfolder
from mien_train.run import train as training
from tests.models import tiny_golden, tiny_manifest, tiny_onnx
from tests.training.test_train import CLASSES, squares

NETWORK = NetworkRecipe(widths=(16, 16), blocks=(1, 1), stem="stride", attention="se", dropout=0.0)
RECIPE = Recipe(network=NETWORK, size=16, epochs=4, batch_size=16, learning_rate=0.05, warmup_epochs=0.5, ema_decay=0.9,
                votes_weight=0.1, augment=AugmentRecipe(erase_share=0, brightness=0.05, contrast=0.1))  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def quick():
    patch = pytest.MonkeyPatch()
    patch.setattr(compress, "SECONDS", 0.01)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return squares(tmp_path_factory.mktemp("squares"))


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    training.run(data, out, RECIPE, 1)
    return out


@pytest.fixture(scope="module")
def parent(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """As `mien export` makes it, without the calibration of the crop, which needs faces."""
    finished = exporting.open_run(run)
    deployed = DeployedNetwork(finished.network, len(CLASSES), 1.5)
    training = {"recipe": finished.about["recipe"], "license": "CC0"}
    manifest = tiny_manifest(name="parent", classes=CLASSES, input=finished.spec, training=training)
    path = tmp_path_factory.mktemp("bundles") / "parent.onnx"
    return write_bundle(path, to_onnx(deployed, finished.spec), manifest, make_golden(deployed, finished.spec))


@pytest.fixture(scope="module")
def int8(parent: Bundle, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Compression:
    return compress.compress(str(parent.path), data, tmp_path_factory.mktemp("int8") / "small.onnx")


def packed(data: Path, run: Path):
    return load_training_data(data, tensors.input_spec(RECIPE), run / "cache")


# --- int8 ---------------------------------------------------------------------------------------------------------


def test_int8_keeps_the_answers(int8: Compression, parent: Bundle, data: Path, run: Path):
    assert int8.bundle is not None
    images = np.array(packed(data, run).validation.images)
    before, after = (Session(b, threads=1).run(images)[0] for b in (parent, int8.bundle))
    assert (before.argmax(1) == after.argmax(1)).all()
    assert [q.value for q in int8.before.qualities] == [q.value for q in int8.after.qualities]
    assert int8.lost == 0


def test_training_starts_from_an_int8_bundle(int8: Compression, parent: Bundle, data: Path, run: Path):
    assert int8.bundle is not None
    images = packed(data, run).validation.images
    pictures = tensors.normalize(tensors.to_tensor(images))
    networks = [network_of(bundle, pictures) for bundle in (parent, int8.bundle)]
    before, after = (tensors.predict_logits(n, images, "fp32").softmax(1) for n in networks)
    assert (before - after).abs().max() < 0.05


def test_int8_is_one_scale_a_channel_of_7_bits_and_unsigned_activations(int8: Compression):
    assert int8.bundle is not None
    graph = onnx.load_model_from_string(int8.bundle.model).graph
    values = {i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer}
    weights = {n: v for n, v in values.items() if v.ndim == 4 and n != "network.stem.0.weight"}
    assert len(weights) == 5  # two blocks of two, and a shortcut
    assert all(v.dtype == np.int8 and abs(v.astype(int)).max() <= 64 for v in weights.values())
    assert all(values[n.replace("_quantized", "_scale")].shape == (len(v),) for n, v in weights.items())
    activations = [n for n in graph.node if n.op_type == "QuantizeLinear"]
    assert {values[n.input[2]].dtype for n in activations} == {np.dtype(np.uint8)}
    assert {values[f"network.{n}.weight"].dtype for n in ("stem.0", "head")} == {np.dtype(np.float32)}
    assert graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8


def test_the_new_bundle_verifies_and_says_where_it_comes_from(int8: Compression, parent: Bundle):
    bundle = load_bundle(str(int8.bundle and int8.bundle.path))
    assert [check.passed for check in verify_bundle(bundle, threads=1)] == [True] * 5
    manifest = bundle.manifest
    assert manifest.name == "small"
    assert manifest.training.parent_sha256 == hashlib.sha256(parent.path.read_bytes()).hexdigest()
    assert manifest.training.recipe["compression"] == {**int8.steps, "calibration_crops": 320}
    assert manifest.training.license == "CC0"
    assert manifest.crop == parent.manifest.crop
    assert {m.name for m in manifest.metrics} >= {"accuracy", "log loss"}
    assert manifest.metrics[0].command.startswith("mien compress ")
    # The temperature in the graph is the one in the manifest.
    crops = np.random.default_rng(0).integers(0, 255, (5, 16, 16, 1), np.uint8)
    probabilities, logits = Session(bundle, threads=1).run(crops)
    np.testing.assert_allclose(probabilities, softmax(logits / manifest.calibration.temperature), atol=1e-5)


def test_the_golden_tolerance_is_declared_in_the_file(int8: Compression):
    assert int8.bundle is not None
    assert int8.bundle.golden is not None
    assert int8.bundle.golden.tolerance == compress.INT8_TOLERANCE


def test_the_table_has_before_after_and_the_change(int8: Compression):
    text = "\n".join(int8.lines())
    for part in ("before", "after", "accuracy", "+0.00 points", "calibration error", "x smaller", "batch 64", "on 36 "):
        assert part in text


def test_int8_is_not_quantized_again(int8: Compression, data: Path, tmp_path: Path):
    with pytest.raises(TrainingError, match="found one in int8 already; compress the model it was made of"):
        compress.compress(str(int8.bundle and int8.bundle.path), data, tmp_path / "again.onnx")


def test_a_graph_without_convolutions_is_refused():
    crops = tiny_golden().crops
    with pytest.raises(TrainingError, match="convolutions in float, found none"):
        quantize(tiny_onnx(), tiny_manifest(), crops, crops)


def test_another_temperature_changes_the_probabilities_alone():
    golden, manifest = tiny_golden(), tiny_manifest()
    model = with_temperature(
        with_temperature(tiny_onnx(), manifest.outputs, 3.0), manifest.outputs, 0.5
    )  # set, and set again
    probabilities, logits = Session(Bundle(Path("x"), model, manifest, None, sealed=False), 1).run(golden.crops)
    np.testing.assert_allclose(probabilities, softmax(logits / 0.5), atol=1e-6)
    np.testing.assert_allclose(softmax(logits), golden.probabilities, atol=1e-6)


# --- what is refused ----------------------------------------------------------------------------------------------


def test_too_great_a_loss_is_refused_with_the_figures(
    parent: Bundle, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    original, out = finish.session_logits, tmp_path / "small.onnx"

    def broken(session: Session, images: np.ndarray) -> np.ndarray:
        """The compressed model always says the first class."""
        found = original(session, images)
        return np.tile(np.float32([3, 0, 0]), (len(found), 1)) if session.bundle.path == out else found

    monkeypatch.setattr(finish, "session_logits", broken)
    done = CliRunner().invoke(app, ["compress", str(parent.path), "--data", str(data), "--out", str(out)])
    assert isinstance(done.exception, TrainingError)  # which `main` turns into exit code 2
    assert "66.67 points of accuracy lost, at most 2 allowed; nothing is written" in str(done.exception)
    assert "33.33%" in done.output
    assert not out.exists()


def test_wrong_use_says_what_to_do(parent: Bundle, data: Path, tmp_path: Path):
    name, out = str(parent.path), tmp_path / "small.onnx"
    with pytest.raises(TrainingError, match="nothing to do: expected int8, or a share to prune"):
        compress.compress(name, data, out, int8=False)
    with pytest.raises(OutputError, match=r"expected a name that ends in \.onnx"):
        compress.compress(name, data, tmp_path / "small")
    out.write_bytes(b"precious")
    with pytest.raises(OutputError, match=r"exists already; choose another name, or replace it"):
        compress.compress(name, data, out)
    assert out.read_bytes() == b"precious"
    (tmp_path / "stranger.onnx").write_bytes(tiny_onnx())
    (tmp_path / "stranger.manifest.json").write_text(tiny_manifest().to_json())
    with pytest.raises(TrainingError, match="expected a bundle that mien made"):
        compress.compress(str(tmp_path / "stranger.onnx"), data, tmp_path / "x.onnx")
    write_bundle(tmp_path / "tiny.onnx", tiny_onnx(), tiny_manifest(), tiny_golden())
    with pytest.raises(TrainingError, match=r"expected the bundle's classes \(happy, neutral, sad\), found bright"):
        compress.compress(str(tmp_path / "tiny.onnx"), data, tmp_path / "x.onnx")


def test_only_a_residual_network_is_pruned():
    course = tiny_manifest(training={"recipe": {"network": {"name": "si100b"}}})
    for manifest, found in ((course, "si100b"), (tiny_manifest(), "no recipe in the manifest")):
        with pytest.raises(TrainingError, match=f"expected a residual network .*found {found}; do not prune it"):
            parent_recipe(Bundle(Path("x"), b"", manifest, None, sealed=True))


# --- pruning ------------------------------------------------------------------------------------------------------


def test_pruning_and_int8_from_the_command_line(parent: Bundle, data: Path, tmp_path: Path):
    out = tmp_path / "small.onnx"
    command = ["compress", str(parent.path), "--data", str(data), "--out", str(out), "--prune", "0.5", "--epochs", "1"]
    left_out = tmp_path / "list.csv"
    left_out.write_text("path\ntrain/dark/000.png\n")
    done = CliRunner().invoke(app, [*command, "--threads", "1", "--exclude", str(left_out), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["steps"]["pruned"] == 0.5
    assert found["lost_points"] <= 2
    assert found["after"]["megabytes"] < found["before"]["megabytes"]
    assert set(found["before"]["qualities"][0]["value"]) == {"value", "low", "high"}
    bundle = load_bundle(str(out))
    assert [check.passed for check in verify_bundle(bundle, threads=1)] == [True] * 5
    shapes = {i.name: list(i.dims) for i in onnx.load_model_from_string(bundle.model).graph.initializer}
    assert shapes["network.stages.0.conv1.weight_quantized"] == [8, 16, 3, 3]
    assert shapes["network.stages.0.conv2.weight_quantized"] == [16, 8, 3, 3]
    recipe = parent_recipe(bundle)
    assert (recipe.network.inner, recipe.teacher_share) == (0.5, 0.5)
    # The fine-tuning is a run like any other.
    tuning = tmp_path / "small-0.5-1.run"
    assert runfolder.read_history(tuning)[-1].epoch == 1
    assert json.loads((tuning / "run.json").read_text())["left_out"]["excluded"] == 1


def test_fine_tuning_is_gentle_whatever_the_parent_did():
    parent = RECIPE.model_copy(update={"optimizer": "adamw", "weight_decay": 0.05, "cutmix": 1.0, "mixup": 0.2})
    recipe = fine_tuning(parent, 0.5, 2)
    assert (recipe.optimizer, recipe.learning_rate, recipe.weight_decay) == ("sgd", 0.02, 3e-4)
    assert (recipe.mixup, recipe.cutmix, recipe.epochs) == (0.0, 0.0, 2)


def test_the_channels_that_count_most_are_kept(data: Path, run: Path):
    """Of a network whose other channels do nothing, the pruned one computes the same."""
    network = exporting.open_run(run).network
    for block in network.stages:
        block.norm1.weight.data[::2] = 0
        block.norm1.bias.data[::2] = 0
    small = build_network(fine_tuning(RECIPE, 0.5, 1).network, 1, tensors.output_columns(RECIPE, 3), 16)
    images = packed(data, run).validation.images
    small.load_state_dict(narrowed(network, small, tensors.normalize(tensors.to_tensor(images))))
    wanted = tensors.predict_logits(network, images, "fp32")
    torch.testing.assert_close(tensors.predict_logits(small, images, "fp32"), wanted, atol=1e-4, rtol=1e-4)


def test_a_pruned_network_can_be_pruned_again():
    once = fine_tuning(RECIPE, 0.3, 2)
    assert once.network.inner == 0.7
    assert fine_tuning(once, 0.5, 2).network.inner == 0.35
    assert (once.epochs, once.mixup, once.votes_weight) == (2, 0, RECIPE.votes_weight)


def test_inner_widths_are_whole_vectors():
    assert [inner_width(w, 0.7) for w in (32, 64, 128, 256)] == [24, 48, 88, 176]
    assert (inner_width(20, 1.0), inner_width(4, 0.5), inner_width(64, 0.01)) == (20, 4, 8)


# --- networks that exist ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("modules", [{}, {"stem": "stride", "attention": "se"}])
def test_checkpoints_of_networks_without_inner_widths_still_load(modules: dict[str, str]):
    """Names and shapes as they were before recipes had `inner`: runs and their checkpoints outlive the code."""
    network = build_network(NetworkRecipe.model_validate({"widths": (12, 20), "blocks": (1, 1), **modules}), 1, 7, 48)
    kernel = 4 if modules else 3
    convolutions = {
        "stem.0": (12, 1, kernel, kernel),
        "stages.0.conv1": (12, 12, 3, 3), "stages.0.conv2": (12, 12, 3, 3),
        "stages.1.conv1": (20, 12, 3, 3), "stages.1.conv2": (20, 20, 3, 3), "stages.1.shortcut.1": (20, 12, 1, 1),
    }  # fmt: skip
    norms = ("stem.1", "stages.0.norm1", "stages.0.norm2", "stages.1.norm1", "stages.1.norm2", "stages.1.shortcut.2")
    linear = ["head", *(f"stages.{i}.attention.{p}" for i in (0, 1) for p in ("squeeze", "excite") if modules)]
    state = network.state_dict()
    assert {k.removesuffix(".weight"): tuple(v.shape) for k, v in state.items() if v.ndim == 4} == convolutions
    assert set(state) == {
        *(f"{k}.weight" for k in convolutions),
        *(f"{k}.{p}" for k in norms for p in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")),
        *(f"{k}.{p}" for k in linear for p in ("weight", "bias")),
    }


def test_a_run_from_before_a_recipe_field_goes_on(data: Path, run: Path, tmp_path: Path):
    old = Path(shutil.copytree(run, tmp_path / "old"))
    about = json.loads((old / "run.json").read_text())
    del about["recipe"]["network"]["inner"], about["check"]
    (old / "run.json").write_text(json.dumps(about))
    (old / "weights.pt").unlink()
    training.run(data, old, RECIPE, 1)
    assert (old / "weights.pt").exists()


def test_squeeze_excitation_and_a_strided_stem_are_taken_out_of_a_bundle(parent: Bundle, data: Path, run: Path):
    columns = tensors.output_columns(RECIPE, 3)
    network = build_network(NETWORK, 1, columns, 16)
    images = packed(data, run).train.images
    pictures = tensors.normalize(torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 255)
    load_initial(network, parent.path, pictures)
    found = tensors.predict_logits(network, images, "fp32")[:, :3].numpy()
    np.testing.assert_allclose(found, Session(parent, threads=1).run(np.array(images))[1], atol=1e-3)
    plain = build_network(NETWORK.model_copy(update={"attention": "none"}), 1, columns, 16)
    load_initial(plain, parent.path, pictures)  # the average of what the attention did stays
    right = tensors.predict_logits(plain, images, "fp32")[:, :3].numpy().argmax(1) == found.argmax(1)
    assert right.mean() > 0.9
