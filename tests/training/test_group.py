"""Two processes train one network, as torchrun starts them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tomli

pytest.importorskip("torch")
if not Path("/proc/self/task").exists():
    pytest.skip("finds the workers in /proc", allow_module_level=True)

import torch

from mien.errors import TrainingError
from mien_train.data.packs import load_training_data
from mien_train.data.tensors import input_spec
from mien_train.recipe import parse_recipe
from mien_train.run.folder import read_history
from mien_train.run.process_group import ProcessGroup
from mien_train.run.trainer import Trainer
from tests.training.test_train import squares, train

# No normalizations, of which each process would have its own, and pictures as they are: so two compute what one does.
RECIPE = """
epochs = 6
color = "rgb"
batch_size = 16
learning_rate = 0.05
warmup_epochs = 0
precision = "fp32"
network = { name = "si100b" }
[augment]
flip = false
rotate_deg = 0
scale = 0
shift = 0
brightness = 0
contrast = 0
blur_share = 0
low_res_share = 0
noise = 0
erase_share = 0
"""


def start(data: Path, out: Path, recipe: str, *options: str) -> subprocess.Popen[str]:
    out.with_suffix(".toml").write_text(recipe)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *options]
    recipe_file = str(out.with_suffix(".toml"))
    mien = ["-m", "mien_train", str(data), "--out", str(out), "--recipe", recipe_file, "--threads", "1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.Popen(
        [*torchrun, *mien], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_two_processes_learn_what_one_does_even_after_a_kill(tmp_path: Path):
    data = squares(tmp_path / "squares", per_class=16)
    one, two = tmp_path / "one", tmp_path / "two"
    train(data, one, parse_recipe(tomli.loads(RECIPE), "recipe"))

    process = start(data, two, RECIPE)
    deadline = time.monotonic() + 60
    while not (two / "checkpoint.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(workers[-1]), signal.SIGKILL)
    process.communicate(timeout=100)
    assert process.returncode != 0
    assert 1 <= len(read_history(two)) < 6

    again = start(data, two, RECIPE)
    said, _ = again.communicate(timeout=100)
    assert again.returncode == 0, said
    history = read_history(two)
    assert [e.epoch for e in history] == list(range(1, 7))  # none lost, none twice
    for a, b in zip(read_history(one), history, strict=True):
        assert b.learning_rate == a.learning_rate
        digits = 1e-3 if a.epoch <= 2 else 1e-2  # sums in another order: the difference grows with the steps
        assert b.train_loss == pytest.approx(a.train_loss, rel=digits)
        assert b.validation_loss == pytest.approx(a.validation_loss, rel=digits)
    assert history[-1].train_loss < 0.9 * history[0].train_loss
    assert json.loads((two / "run.json").read_text())["processes"] == 2
    assert (two / "weights.pt").exists()
    assert said.count("next: mien export") == 1  # one process speaks for both


def test_a_batch_that_does_not_divide_is_refused(tmp_path: Path):
    recipe = parse_recipe(tomli.loads(RECIPE.replace("batch_size = 16", "batch_size = 15")), "recipe")
    data = load_training_data(squares(tmp_path / "squares", per_class=16), input_spec(recipe), tmp_path / "cache")
    with pytest.raises(TrainingError, match="batch_size 15 does not divide among 2 processes; choose a multiple of 2"):
        Trainer(recipe, data, ProcessGroup(1, 2, torch.device("cpu")))
