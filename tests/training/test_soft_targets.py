"""Stored soft targets: matched by the pictures' keys, and part of what the votes' output learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from mien.errors import TrainingError
from mien_train.data.packs import Pack, load_training_data
from mien_train.data.soft_targets import load_soft_targets, save_soft_targets
from mien_train.data.tensors import input_spec
from mien_train.run import train as training
from mien_train.run.trainer import votes_targets
from tests.training.test_train import CLASSES, RECIPE, squares


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return squares(tmp_path_factory.mktemp("squares"))


@pytest.fixture(scope="module")
def pack(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return load_training_data(data, input_spec(RECIPE), tmp_path_factory.mktemp("cache")).train


def test_rows_follow_the_keys_and_the_names_of_classes(pack: Pack, tmp_path: Path):
    sure = np.eye(len(CLASSES), dtype=np.float32)[pack.labels]
    order = np.random.default_rng(0).permutation(len(pack.labels))
    backward = list(reversed(pack.classes))
    save_soft_targets(tmp_path / "a.npz", [pack.keys[i] for i in order], backward, sure[order][:, ::-1])
    np.testing.assert_array_equal(load_soft_targets(tmp_path / "a.npz", pack), sure)


def test_views_are_averaged_and_unknown_pictures_have_zeros(pack: Pack, tmp_path: Path):
    views = np.stack([np.tile(np.eye(len(CLASSES))[k], (3, 1)) for k in (0, 1)])
    save_soft_targets(tmp_path / "a.npz", pack.keys[:3], pack.classes, views)
    found = load_soft_targets(tmp_path / "a.npz", pack)
    known = np.isin(pack.keys, pack.keys[:3])
    assert (found[known, :2] == 0.5).all()
    assert not found[~known].any()


def test_votes_and_teachers_are_mixed_where_both_speak():
    votes = np.array([[3, 1], [0, 0], [1, 1], [0, 0]], np.float32)
    people = np.array([[0.5, 0.5], [0.9, 0.1], [0, 0], [0, 0]], np.float32)
    mixed = votes_targets(votes, people, 0.4)
    np.testing.assert_allclose(mixed, [[0.65, 0.35], [0.9, 0.1], [0.5, 0.5], [0, 0]], atol=1e-6)
    np.testing.assert_allclose(votes_targets(votes, None, 0.0), [[0.75, 0.25], [0, 0], [0.5, 0.5], [0, 0]])


def test_training_takes_them_as_a_teacher(pack: Pack, data: Path, tmp_path: Path):
    save_soft_targets(tmp_path / "a.npz", pack.keys, pack.classes, np.full((len(pack.keys), len(CLASSES)), 0.5))
    recipe = RECIPE.model_copy(
        update={"epochs": 1, "votes_weight": 1.0, "label_weight": 0.3, "votes_teacher_share": 0.5}
    )
    training.run(data, tmp_path / "run", recipe, 1, teachers=[tmp_path / "a.npz"])
    assert (tmp_path / "run/weights.pt").exists()
    with pytest.raises(TrainingError, match="0 files of soft targets are given"):
        training.run(data, tmp_path / "none", recipe, 1)


@pytest.mark.parametrize("kind", ["text", "other classes", "other pictures"])
def test_a_file_that_does_not_fit_is_refused(kind: str, pack: Pack, tmp_path: Path):
    path = tmp_path / "a.npz"
    if kind == "text":
        path.write_text("no array")
    else:
        classes = ["calm", "odd"] if kind == "other classes" else pack.classes
        keys = pack.keys if kind == "other classes" else ["0" * 24]
        save_soft_targets(path, keys, classes, np.full((len(keys), len(classes)), 1 / len(classes)))
    with pytest.raises(TrainingError, match=r"a\.npz"):
        load_soft_targets(path, pack)
