"""Networks that learned votes give bundles with two answers: by export, from older graphs, and through compression."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from mien.errors import TrainingError
from mien.model.bundle import Bundle, load_bundle, write_bundle
from mien.model.session import Session, softmax
from mien.model.verify import verify_bundle
from mien_train.bundles import compress
from mien_train.bundles.answers import answers_of, as_prior, remade, with_people
from mien_train.bundles.ensemble import averaged, ensemble
from mien_train.bundles.measured import calibrate
from mien_train.bundles.to_onnx import AnswerColumns, DeployedNetwork, make_golden, to_onnx
from mien_train.data import tensors
from mien_train.data.packs import TrainingData, load_training_data
from mien_train.networks.resnet import build_network
from mien_train.recipe import NetworkRecipe, Recipe
from tests.models import tiny_golden, tiny_manifest, tiny_onnx
from tests.training.test_train import CLASSES, squares

NETWORK = NetworkRecipe(widths=(8, 8), blocks=(1, 1), stem="stride", dropout=0.0)
RECIPE = Recipe(network=NETWORK, size=16, votes_weight=0.5)
SPEC = tensors.input_spec(RECIPE)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn squares; seven of ten people see what the label says, the rest `striped`; nobody voted on `dark` ones."""
    folder = squares(tmp_path_factory.mktemp("squares"))
    with (folder / "votes.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", *CLASSES])
        for path in sorted(folder.glob("*/*/*.png")):
            if (label := path.parent.name) != "dark":
                votes = [7 * (c == label) + 3 * (c == "striped") for c in CLASSES]
                writer.writerow([path.relative_to(folder).as_posix(), *votes])
    return folder


@pytest.fixture(scope="module")
def data(root: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    return load_training_data(root, SPEC, tmp_path_factory.mktemp("cache"))


def network(seed: int = 3) -> torch.nn.Module:
    torch.manual_seed(seed)
    return build_network(RECIPE.network, SPEC.channels, 2 * len(CLASSES), RECIPE.size).eval()


def older(path: Path, seed: int = 3) -> Bundle:
    """As bundles were made before there were answers: the votes' columns are computed, and dropped."""
    deployed = DeployedNetwork(network(seed), len(CLASSES), 1.5)
    training = {"recipe": RECIPE.model_dump(mode="json")}
    manifest = tiny_manifest(name="old", classes=CLASSES, input=SPEC, training=training)
    return write_bundle(path, to_onnx(deployed, SPEC), manifest, make_golden(deployed, SPEC))


@pytest.fixture(scope="module")
def both(data: TrainingData, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("bundles") / "both.onnx"
    new, golden = remade(older(path), data, "labels", "a command")
    return write_bundle(path, new.model, new.manifest, golden)


def test_an_older_graph_gives_its_dropped_columns_and_the_same_labels(both: Bundle, data: TrainingData):
    images = np.array(data.validation.images[:9])
    columns = tensors.predict_logits(network(), images, "fp32").numpy()
    session = Session(both, threads=1)
    np.testing.assert_allclose(session.run(images)[1], columns[:, 3:], atol=1e-4)
    np.testing.assert_allclose(session.giving("labels").run(images)[1], columns[:, :3], atol=1e-4)
    for one in session.each_answer():
        probabilities, logits = one.run(images)
        np.testing.assert_allclose(probabilities, softmax(logits / one.answer.calibration.temperature), atol=1e-5)
    assert all(check.passed for check in verify_bundle(both, threads=1))


def test_it_is_what_an_export_of_the_network_gives(both: Bundle, data: TrainingData, tmp_path: Path):
    answers = answers_of(CLASSES, data, "labels")
    deployed = DeployedNetwork(network(), 3, 1.0, AnswerColumns(3, 3, 1.0))
    manifest = tiny_manifest(classes=CLASSES, input=SPEC).with_answers(answers)
    golden = make_golden(deployed, SPEC, answers)
    exported = write_bundle(tmp_path / "new.onnx", to_onnx(deployed, SPEC, answers), manifest, golden)
    assert all(check.passed for check in verify_bundle(exported, threads=1))
    images = np.array(data.validation.images)
    for a, b in zip(Session(exported, 1).each_answer(), Session(both, 1).each_answer(), strict=True):
        np.testing.assert_allclose(a.run(images)[1], b.run(images)[1], atol=1e-4)
        assert a.answer.prior == b.answer.prior


def test_each_answer_has_its_own_temperature_prior_and_measure(both: Bundle):
    people, labels = both.manifest.answers
    assert people.calibration.temperature != labels.calibration.temperature
    assert labels.prior == pytest.approx(dict.fromkeys(CLASSES, 1 / 3), abs=0.01)
    # Of bright pictures three of ten say `striped`, of striped ones all; for `dark` only the added picture is left.
    assert people.prior["striped"] == pytest.approx(1.3 / 2, abs=0.03)
    assert 0 < people.prior["dark"] < 0.03
    measured = {(m.answer, m.name): m for m in both.manifest.metrics}
    assert measured["people", "agrees with one person"].samples < measured["labels", "accuracy"].samples
    assert measured["people", "cross-entropy to the votes"].value > 0


def test_remaking_again_changes_nothing(both: Bundle, data: TrainingData):
    new, _ = remade(both, data, "ignored", "a command")
    assert new.manifest.answers == both.manifest.answers
    assert new.manifest.metrics == both.manifest.metrics


def test_data_without_votes_leave_the_temperature_of_people_alone(both: Bundle, tmp_path: Path):
    bare = load_training_data(squares(tmp_path / "bare"), SPEC, tmp_path / "cache")
    people, labels = both.manifest.answers
    logits = np.random.default_rng(0).normal(size=(len(bare.validation.labels), 3)).astype(np.float32)
    assert calibrate(people, logits, bare) == people
    assert calibrate(labels, logits, bare) != labels


def test_a_graph_without_dropped_columns_is_refused(data: TrainingData):
    manifest = tiny_manifest()
    with pytest.raises(TrainingError, match="found logits that are not a part of wider ones"):
        with_people(tiny_onnx(), manifest.outputs, 3, answers_of(CLASSES, data, "labels"))
    bundle = Bundle(Path("x.onnx"), tiny_onnx(), manifest, tiny_golden(), sealed=True)
    with pytest.raises(TrainingError, match="expected data of the classes happy, neutral, sad"):
        remade(bundle, data, "labels", "")


def test_int8_keeps_both_answers(
    both: Bundle, root: Path, data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(compress, "SECONDS", 0.01)
    done = compress.compress(str(both.path), root, tmp_path / "int8.onnx", max_drop=100)
    assert done.bundle is not None
    assert [a.name for a in done.bundle.manifest.answers] == ["people", "labels"]
    assert [a.prior for a in done.bundle.manifest.answers] == [a.prior for a in both.manifest.answers]
    text = "\n".join(done.lines())
    assert "agrees with one person" in text
    assert "accuracy (labels)" in text
    images = np.array(data.validation.images)
    for a, b in zip(Session(both, 1).each_answer(), Session(done.bundle, 1).each_answer(), strict=True):
        assert (a.run(images)[0].argmax(1) == b.run(images)[0].argmax(1)).mean() > 0.8


def test_an_ensemble_averages_every_shared_answer(both: Bundle, root: Path, data: TrainingData, tmp_path: Path):
    new, golden = remade(older(tmp_path / "other.onnx", seed=4), data, "labels", "")
    other = write_bundle(tmp_path / "other.onnx", new.model, new.manifest, golden)
    made = ensemble([str(both.path), str(other.path)], root, tmp_path / "mean.onnx")
    images = np.array(data.validation.images)
    for answer in ("people", "labels"):
        logs = np.mean([np.log(Session(b, 1, answer=answer).run(images)[0]) for b in (both, other)], axis=0)
        np.testing.assert_allclose(Session(made.bundle, 1, answer=answer).run(images)[1], logs, atol=1e-3)
    assert "agrees with one person" in made.lines()[0]
    with pytest.raises(TrainingError, match="expected bundles that share an answer"):
        ensemble([str(both.path), str(older(tmp_path / "old.onnx").path)], root, tmp_path / "x.onnx")
    with pytest.raises(TrainingError, match="expected the answers of"):
        averaged([both, load_bundle(tmp_path / "old.onnx")])
    assert averaged([both, other])


def test_a_prior_sums_to_one_and_leaves_no_class_out():
    prior = as_prior(("a", "b", "c"), np.array([0.0, 10, 90]))
    assert sum(prior.values()) == pytest.approx(1, abs=1e-5)
    assert prior["a"] > 0
