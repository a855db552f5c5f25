"""A bundle that lost its seal, in every command that takes a model: refused with advice that the command can follow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from mien.cli import command_line
from mien.model import onnxfile
from mien.model.bundle import Bundle

Call = Callable[..., tuple[int, str, str]]

TAKEN = {
    "predict": ("predict", "PHOTO", "--model", "BARE"),
    "live": ("live", "VIDEO", "--model", "BARE"),
    "evaluate": ("evaluate", "DATA", "--model", "BARE"),
    "compare": ("compare", "TINY", "BARE", "DATA"),
    "verify": ("verify", "BARE"),
    "show": ("show", "BARE"),
    "web": ("web", "NEW", "--model", "BARE"),
    "export": ("export", "BARE", "--layout", "nchw", "--out", "NEW.onnx"),
    "trace": ("trace", "BARE", "RUN", "--data", "DATA"),
    "serve": ("serve", "--model", "BARE", "--port", "0", "--device", "cpu"),
}
"""With --unsealed it is taken: nothing is made of it that carries a seal of ours."""

REFUSED = {
    "registry add": ("registry", "add", "BARE"),
    "train": ("train", "DATA", "--out", "NEW", "--init", "BARE", "--recipe", "RECIPE"),
    "compress": ("compress", "BARE", "--data", "DATA", "--out", "NEW.onnx"),
    "ensemble": ("ensemble", "TINY", "BARE", "--data", "DATA", "--out", "NEW.onnx"),
}
"""A new bundle gets a seal, and so must not come from what nobody vouches for."""


@pytest.fixture
def places(tmp_path: Path, tiny_bundle: Bundle, astronaut: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("MIEN_REGISTRY", str(tmp_path / "registry"))
    monkeypatch.setenv("MIEN_REGISTRY_FILES", str(tmp_path / "registry"))
    bare = tmp_path / "bare.onnx"
    bare.write_bytes(onnxfile.without(tiny_bundle.path.read_bytes(), {onnxfile.SEAL_KEY}, "it"))
    for split in ("train", "validation"):
        for number, label in enumerate(tiny_bundle.manifest.classes):
            (tmp_path / "data" / split / label).mkdir(parents=True)
            for copy in range(4):
                pixels = bytes((copy * 50 + number + at * (3 + 2 * (split == "train"))) % 256 for at in range(2304))
                (tmp_path / "data" / split / label / f"{copy}.pgm").write_bytes(b"P5 48 48 255 " + pixels)
    (tmp_path / "recipe.toml").write_text("epochs = 1\nbatch_size = 4\n")
    (tmp_path / "run").mkdir()
    names = {"NEW": "new", "NEW.onnx": "new.onnx", "RUN": "run", "DATA": "data", "RECIPE": "recipe.toml"}
    return {
        **{name: str(tmp_path / file) for name, file in names.items()},
        "BARE": str(bare), "TINY": str(tiny_bundle.path), "PHOTO": str(astronaut), "VIDEO": str(astronaut),
    }  # fmt: skip


def options_of(words: tuple[str, ...]) -> set[str]:
    """The options of the command that the words begin with."""
    command: Any = typer.main.get_command(command_line())
    for word in words:
        command = getattr(command, "commands", {}).get(word, command)
    return {option for parameter in command.params for option in parameter.opts}


@pytest.mark.parametrize("command", TAKEN)
def test_it_is_refused_and_the_option_named_is_there(command: str, mien: Call, places: dict[str, str]):
    words = TAKEN[command]
    if words[0] in ("export", "trace"):
        pytest.importorskip("torch")
    code, _, err = mien(*(places.get(word, word) for word in words))
    assert code == 2
    assert err.rstrip().endswith("take a fresh copy (or take it as it is: --unsealed)")
    assert "--unsealed" in options_of(words)


@pytest.mark.parametrize("command", REFUSED)
def test_where_a_new_bundle_is_made_no_option_is_named(command: str, mien: Call, places: dict[str, str]):
    words = REFUSED[command]
    if words[0] != "registry":
        pytest.importorskip("torch")
    code, _, err = mien(*(places.get(word, word) for word in words))
    assert code == 2
    assert "seal" in err
    assert "unsealed" not in err
    assert "--unsealed" not in options_of(words)


@pytest.mark.parametrize("command", ["predict", "verify", "show", "export"])
def test_asked_for_it_is_taken_and_said(command: str, mien: Call, places: dict[str, str]):
    words = TAKEN[command]
    if command == "export":
        pytest.importorskip("torch")
    code, out, err = mien(*(places.get(word, word) for word in words), "--unsealed")
    assert code == 0, err
    assert out
    assert f"{places['BARE']}: no seal, taken as it is" in err
