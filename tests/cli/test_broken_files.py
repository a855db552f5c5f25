"""Every command with every kind of broken file: one line that people can read, an exit code, and no traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mien.model.bundle import Bundle

pytest.importorskip("mien_train.recipe")

Call = Callable[..., tuple[int, str, str]]

LONGEST = 700
"""Characters of a line, without the path of the test's folder."""

CONTENTS = {
    "empty": b"",
    "noise": bytes(i * i * 7 % 251 for i in range(5000)),
    "cut.jpg": b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0\xff\xdb\0C",
    "cut.tar.gz": b"\x1f\x8b\x08\0" + bytes(20),
    "text.csv": b'path,label\n\xff\xfe,\n"',
    "deep.json": b"[" * 5000,
    "wrong.toml": b"a = [\n",
    "pickle.pth": b"\x80\x04\x95" + bytes(50),
    "folder": None,
    "missing": None,
}

COMMANDS = {
    "predict": ("predict", "FILE"),
    "predict --model": ("predict", "PHOTO", "--model", "FILE"),
    "predict --prior": ("predict", "PHOTO", "--prior", "FILE"),
    "predict --detector-model": ("predict", "PHOTO", "--detector", "haar", "--detector-model", "FILE"),
    "evaluate": ("evaluate", "FILE"),
    "evaluate --exclude": ("evaluate", "DATA", "--model", "TINY", "--exclude", "FILE"),
    "evaluate --label-map": ("evaluate", "DATA", "--model", "TINY", "--label-map", "FILE"),
    "compare": ("compare", "TINY", "FILE", "DATA"),
    "audit": ("audit", "FILE", "--no-labels", "--faces", "none"),
    "verify": ("verify", "FILE"),
    "show": ("show", "FILE"),
    "data import": ("data", "import", "FILE", "--out", "NEW"),
    "data import --votes": ("data", "import", "FILE", "--votes", "FILE", "--out", "NEW"),
    "train": ("train", "FILE", "--out", "NEW"),
    "train --recipe": ("train", "DATA", "--out", "NEW", "--recipe", "FILE"),
    "export": ("export", "FILE", "--data", "DATA", "--out", "NEW.onnx"),
    "compress": ("compress", "FILE", "--data", "DATA", "--out", "NEW.onnx"),
    "ensemble": ("ensemble", "FILE", "TINY", "--data", "DATA", "--out", "NEW.onnx"),
    "trace": ("trace", "FILE", "FILE", "--data", "DATA"),
    "tune": ("tune", "DATA", "--out", "NEW", "--space", "FILE"),
    "web": ("web", "NEW", "--model", "FILE"),
    "registry add": ("registry", "add", "FILE"),
    "serve": ("serve", "--model", "FILE", "--port", "0"),
}


@pytest.fixture
def places(tmp_path: Path, tiny_bundle: Bundle, astronaut: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("MIEN_REGISTRY", str(tmp_path / "registry"))
    monkeypatch.setenv("MIEN_REGISTRY_FILES", str(tmp_path / "registry"))
    for split in ("train", "validation"):
        for label in ("angry", "happy", "neutral"):
            (tmp_path / "data" / split / label).mkdir(parents=True)
            (tmp_path / "data" / split / label / "a.pgm").write_bytes(b"P5 4 4 255 " + bytes(range(16)))
    (tmp_path / "folder").mkdir()
    return {"PHOTO": str(astronaut), "DATA": str(tmp_path / "data"), "TINY": str(tiny_bundle.path)}


@pytest.mark.parametrize("command", COMMANDS)
def test_broken_files_are_refused_in_one_line(command: str, mien: Call, places: dict[str, str], tmp_path: Path):
    wrong: list[str] = []
    for name, data in CONTENTS.items():
        path = tmp_path / name
        if data is not None:
            path.write_bytes(data)
        values = {**places, "FILE": str(path), "NEW": str(tmp_path / "new"), "NEW.onnx": str(tmp_path / "new.onnx")}
        try:
            code, _, err = mien(*(values.get(word, word) for word in COMMANDS[command]))
        except Exception as error:
            wrong.append(f"{name}: {type(error).__name__}: {str(error)[:300]}")
            continue
        lines = [line.replace(str(tmp_path), "") for line in err.splitlines()]
        if code not in (1, 2):
            wrong.append(f"{name}: exit code {code}: {err[-300:]}")
        elif not lines or max(map(len, lines)) > LONGEST:
            wrong.append(f"{name}: {max(map(len, lines), default=0)} characters: {err[:300]}")
    assert wrong == []
