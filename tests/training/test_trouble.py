"""What goes wrong while training: it is told, and nothing that was won is lost."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")

import torch

from mien.errors import DatasetError, TrainingError
from mien_train.data import tensors
from mien_train.data.packs import load_training_data
from mien_train.networks.initial import load_initial
from mien_train.networks.resnet import build_network
from mien_train.recipe import NetworkRecipe, Recipe
from mien_train.run import folder as runfolder
from mien_train.run import trainer
from tests.training.test_train import CLASSES, RECIPE, squares, train

STEPS = 6
"""Of an epoch on the squares."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return squares(tmp_path_factory.mktemp("squares"))


def test_weights_that_are_not_finite_are_not_saved(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The last step of the second epoch breaks them, and its loss was fine."""
    step, taken = torch.optim.SGD.step, [0]

    def breaking(self: torch.optim.SGD) -> None:
        step(self)
        taken[0] += 1
        if taken[0] == 2 * STEPS:
            self.param_groups[1]["params"][-1].data.fill_(float("nan"))

    monkeypatch.setattr(torch.optim.SGD, "step", breaking)
    with pytest.raises(
        TrainingError, match=r"not finite after epoch 2; the last checkpoint is kept: a new run can start from it"
    ):
        train(data, tmp_path / "run")
    kept = torch.load(tmp_path / "run/checkpoint.pt", weights_only=True)
    assert kept["epochs_done"] == 1
    network = build_network(RECIPE.network, 1, len(CLASSES), RECIPE.size)
    load_initial(network, tmp_path / "run/checkpoint.pt", torch.zeros(1))  # as the message says
    assert torch.equal(network.get_parameter("head.weight"), kept["average"]["head.weight"])


def test_pictures_of_any_side_are_halved_alike():
    for stem, size in (("pool", 40), ("full", 20), ("wide", 40), ("stride", 50)):
        modules = {"stem": stem, "widths": (8, 8, 8, 8), "blocks": (1, 1, 1, 1)}
        recipe = Recipe.model_validate({"network": modules, "size": size, "start_size": 16})
        trainer.check_sides(build_network(recipe.network, 1, 3, size), recipe, 1)


def test_pictures_too_small_for_the_network_are_refused_at_once(data: Path, tmp_path: Path):
    recipe = Recipe(network=NetworkRecipe.model_validate({"name": "si100b"}), color="rgb", start_size=24, batch_size=16)
    with pytest.raises(TrainingError, match="cannot take pictures of 24 x 24"):
        train(data, tmp_path / "run", recipe)


def test_a_disk_that_fills_up_while_saving(tmp_path: Path):
    """A limit on files' sizes fails as a full disk does; torch hides the disk's error behind its own."""
    code = """
import resource, sys, torch
from pathlib import Path
from mien_train.run.folder import save_state
path = Path(sys.argv[1])
save_state({"a": torch.zeros(10)}, path)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
save_state({"a": torch.rand(1_000_000)}, path)
"""
    pytest.importorskip("resource")
    path = tmp_path / "checkpoint.pt"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "TrainingError" in done.stderr.splitlines()[-1]
    assert "checkpoint.pt: cannot be written (File too large); the previous checkpoint is untouched" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]
    assert torch.load(path, weights_only=True)["a"].shape == (10,)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot take room on a disk beforehand")
def test_a_disk_without_room_for_the_pictures(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def unable(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DatasetError, match=r"no room for .* of pictures \(No space left on device\)"):
        load_training_data(data, tensors.input_spec(RECIPE), tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())
    monkeypatch.setattr(os, "posix_fallocate", unable)
    assert len(load_training_data(data, tensors.input_spec(RECIPE), tmp_path / "cache").train.labels) == 96


def test_other_votes_are_other_data(data: Path, tmp_path: Path):
    root = squares(tmp_path / "voted", per_class=8)
    (root / "votes.csv").write_text("path,bright,dark,striped\ntrain/bright/000.png,6,4,0\n")
    recipe = RECIPE.model_copy(update={"epochs": 1, "batch_size": 8})
    train(root, tmp_path / "run", recipe)
    (root / "votes.csv").write_text("path,bright,dark,striped\ntrain/bright/000.png,4,6,0\n")
    with pytest.raises(TrainingError, match="another votes_fingerprint"):
        train(root, tmp_path / "run", recipe)
    about = json.loads((tmp_path / "run/run.json").read_text())
    del about["votes_fingerprint"], about["check"]  # a run of an earlier version goes on
    (tmp_path / "run/run.json").write_text(json.dumps(about))
    train(root, tmp_path / "run", recipe)


def test_pictures_that_cannot_be_read_are_announced(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    root = squares(tmp_path / "corrupt", per_class=8)
    (root / "train/dark/zzz.png").write_bytes(b"not a picture")
    train(root, tmp_path / "run", RECIPE.model_copy(update={"epochs": 1, "batch_size": 8}))
    assert "1 pictures cannot be read and are left out" in caplog.text
    assert "zzz.png" in caplog.text
    left_out = json.loads((tmp_path / "run/run.json").read_text())["left_out"]
    assert "zzz.png" in left_out["unreadable"][0]


def test_the_commit_is_that_of_this_code_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-c", "user.name=n", "-c", "user.email=e@example.org", *words], cwd=tmp_path, check=True,
            capture_output=True, text=True,
        ).stdout.strip()  # fmt: skip

    here = tmp_path / "runfolder.py"
    here.write_text("a")
    (tmp_path / "other.py").write_text("b")
    git("init", "-q")
    git("add", "other.py")
    git("commit", "-qm", "Somebody's project")
    monkeypatch.setattr(runfolder, "__file__", str(here))
    assert runfolder.git_commit() == ""
    git("add", ".")
    git("commit", "-qm", "Now its own")
    assert runfolder.git_commit() == git("rev-parse", "HEAD")
    here.write_text("changed")
    assert runfolder.git_commit() == git("rev-parse", "HEAD") + "-dirty"


def test_a_table_of_paths_trains(tmp_path: Path):
    rng = np.random.default_rng(0)
    lines = ["path,Label,Split"]
    for split, count in (("Training", 4), ("PublicTest", 2)):
        for i in range(2 * count):
            Image.fromarray(rng.integers(0, 256, (24, 24), np.uint8)).save(tmp_path / f"{split}{i}.png")
            lines.append(f"{split}{i}.png,{('happy', 'sad')[i % 2]},{split}")
    (tmp_path / "t.csv").write_text("\n".join(lines))
    data = load_training_data(tmp_path / "t.csv", tensors.input_spec(RECIPE), tmp_path / "cache")
    assert (len(data.train.labels), len(data.validation.labels)) == (8, 4)
