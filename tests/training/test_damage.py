"""Damaged run folders: what is damaged is named with the remedy, or made again; nothing wrong goes unnoticed."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from mien.errors import TrainingError
from mien_train.run import folder as runfolder
from mien_train.run import train as training
from mien_train.run.finished_run import open_run
from mien_train.run.folder import read_history
from tests.training.test_train import RECIPE, squares, train

QUICK = RECIPE.model_copy(update={"epochs": 2})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return squares(tmp_path_factory.mktemp("squares"), per_class=8)


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    train(data, out, QUICK)
    return out


def flip(path: Path) -> None:
    """Flip a bit of what the file holds: of tensors, not of what fills a file up between them."""
    content = bytearray(path.read_bytes())
    at = len(content) // 2
    if path.suffix == ".pt":
        with zipfile.ZipFile(path) as archive:
            at = content.index(archive.read(max(archive.infolist(), key=lambda part: part.file_size)))
    content[at] ^= 0x10
    path.write_bytes(content)


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "emptied": lambda path: path.write_bytes(b""),
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "another file": lambda path: path.write_bytes(b"PK\x03\x04 not this one {}"),
    "a flipped byte": flip,
    "removed": lambda path: path.unlink(),
    "a folder": as_folder,
}
NAMED = ("run.json", "checkpoint.pt")
MADE_AGAIN = ("history.jsonl", "weights.pt", "cache/train-*/pack.json", "cache/validation-*/images.npy")


def damaged(run: Path, copy: Path, pattern: str, damage: str) -> Path:
    """The damaged file in a copy of the run."""
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns("tensorboard"))
    (path,) = copy.glob(pattern)
    DAMAGES[damage](path)
    return path


@pytest.mark.parametrize("name", NAMED)
def test_what_is_damaged_is_named(data: Path, run: Path, tmp_path: Path, name: str):
    for damage in DAMAGES.keys() - {"removed"}:
        path = damaged(run, tmp_path / damage, name, damage)
        with pytest.raises(TrainingError) as caught:
            train(data, tmp_path / damage, QUICK)
        assert str(caught.value).startswith(f"{path}: damaged"), damage
        assert len(str(caught.value)) < 700


@pytest.mark.parametrize("damage", ["cut", "a flipped byte"])
@pytest.mark.parametrize("pattern", MADE_AGAIN)
def test_what_is_damaged_is_made_again(data: Path, run: Path, tmp_path: Path, pattern: str, damage: str):
    damaged(run, tmp_path / "run", pattern, damage)
    train(data, tmp_path / "run", QUICK)
    assert _same(open_run(tmp_path / "run").network.state_dict(), open_run(run).network.state_dict())
    assert [epoch.epoch for epoch in read_history(tmp_path / "run")] == [1, 2]


def _same(a: dict, b: dict) -> bool:
    return all(torch.equal(a[name], b[name]) for name in b)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["run.json", "weights.pt", "checkpoint.pt"])
def test_a_damaged_run_is_no_start_and_no_bundle(data: Path, run: Path, tmp_path: Path, name: str, damage: str):
    copy = tmp_path / "run"
    path = damaged(run, copy, name, damage)
    if name != "checkpoint.pt":
        with pytest.raises(TrainingError, match=name if damage != "removed" else "run"):
            open_run(copy)
    if name != "run.json":
        with pytest.raises(TrainingError, match=name):
            training.run(data, tmp_path / "new", QUICK, 1, initial=path)


def test_killed_between_checkpoint_and_history_nothing_recorded_is_lost(
    data: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr("mien_train.run.loop.append_history", kill)
        for _ in range(2):
            with pytest.raises(Killed):
                train(data, tmp_path / "run", QUICK)
    train(data, tmp_path / "run", QUICK)
    whole = [{**asdict(epoch), "seconds": 0} for epoch in read_history(run)]
    assert [{**asdict(epoch), "seconds": 0} for epoch in read_history(tmp_path / "run")] == whole


def test_a_second_training_is_told_who_is_there(data: Path, tmp_path: Path):
    seen: list[str] = []

    def second(_: runfolder.Epoch) -> None:
        with suppress(KeyboardInterrupt):
            try:
                train(data, tmp_path / "run", QUICK)
            except TrainingError as error:
                seen.append(str(error))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        train(data, tmp_path / "run", QUICK, on_epoch=second)
    assert f"another run is writing it (process {os.getpid()} on " in seen[0]
    assert getattr(caught.value, "__notes__", ()) == [
        f"1 of 2 epochs are kept in {tmp_path / 'run'}; the same command goes on"
    ]
    assert not (tmp_path / "run/.lock").exists()


def test_more_epochs_for_a_finished_run_start_from_its_weights(data: Path, run: Path):
    with pytest.raises(
        TrainingError, match=r"a finished run with another recipe: recipe\.epochs was 2, is 5; "
    ) as caught:
        train(data, run, QUICK.model_copy(update={"epochs": 5}))
    assert f"start from {run / 'weights.pt'} to train on from it" in str(caught.value)
