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

from mien_train.recipe import parse_recipe
from mien_train.run.folder import read_history
from tests.training.test_train import squares, train

RECIPE = """
epochs = 15
size = 16
batch_size = 16
learning_rate = 0.05
warmup_epochs = 0.5
ema_decay = 0.9
[network]
widths = [8, 16]
blocks = [1, 1]
dropout = 0.0
[augment]
erase_share = 0
brightness = 0.05
contrast = 0.1
"""

EXACT = """
epochs = 2
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


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return squares(tmp_path_factory.mktemp("squares"))


def test_a_run_whose_worker_was_killed_goes_on_from_its_checkpoint(data: Path, tmp_path: Path):
    run = tmp_path / "run"
    process = start(data, run, RECIPE)
    deadline = time.monotonic() + 60
    while not (run / "checkpoint.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(workers[-1]), signal.SIGKILL)
    process.communicate(timeout=100)
    assert process.returncode != 0
    done = len(read_history(run))
    assert 1 <= done < 15

    again = start(data, run, RECIPE)
    said, _ = again.communicate(timeout=100)
    assert again.returncode == 0, said
    history = read_history(run)
    assert [e.epoch for e in history] == list(range(1, 16))  # none lost, none twice
    assert history[-1].validation_accuracy > 0.9  # as one process reaches: tests/test_train.py
    assert json.loads((run / "run.json").read_text())["processes"] == 2
    assert (run / "weights.pt").exists()
    assert said.count("next: mien export") == 1  # one process speaks for both


def test_two_processes_learn_what_one_does(tmp_path: Path):
    """To the last digits, in a network without normalizations (each process has its own) on pictures as they are."""
    one, two = tmp_path / "one", tmp_path / "two"
    data = squares(tmp_path / "squares", per_class=16)
    train(data, one, parse_recipe(tomli.loads(EXACT), "recipe"))
    said, _ = (process := start(data, two, EXACT)).communicate(timeout=100)
    assert process.returncode == 0, said
    for a, b in zip(read_history(one), read_history(two), strict=True):
        assert b.learning_rate == a.learning_rate
        assert b.train_loss == pytest.approx(a.train_loss, rel=1e-3)
        assert b.validation_loss == pytest.approx(a.validation_loss, rel=1e-3)
    assert read_history(one)[1].train_loss != read_history(one)[0].train_loss


def test_a_batch_that_does_not_divide_is_refused_by_all(data: Path, tmp_path: Path):
    process = start(data, tmp_path / "run", RECIPE.replace("batch_size = 16", "batch_size = 15"))
    said, _ = process.communicate(timeout=100)
    assert process.returncode != 0
    assert "batch_size 15 does not divide among 2 processes; choose a multiple of 2" in said
