"""The command line as a user meets it: what it prints, what it writes, how it leaves."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image

import mien.cli
from mien.cli import HOMES, command_line
from mien.model.bundle import Bundle

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def blank(tmp_path: Path) -> Path:
    """A picture without a face."""
    Image.new("RGB", (200, 200), "teal").save(tmp_path / "blank.png")
    return tmp_path / "blank.png"


def test_the_main_job(run: Run, group: Path):
    code, out, err = run("predict", group)
    assert code == 0
    lines = out.splitlines()
    assert len(lines) == 4
    assert all("happy" in line for line in lines[1:])
    assert "1 picture, 3 faces" in err


def test_json_gives_one_object_a_face(run: Run, group: Path):
    code, out, _ = run("predict", group, "--json", "--threads", 1)
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [r["face"] for r in rows] == [0, 1, 2]
    for row in rows:
        assert row["source"] == str(group)
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-4)
        assert row["label"] == max(row["probabilities"], key=row["probabilities"].get)


def test_a_batch_goes_on_past_bad_files_and_names_them(run: Run, astronaut: Path, blank: Path, tmp_path: Path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    shutil.copy(astronaut, folder / "good.jpg")
    shutil.copy(blank, folder / "blank.png")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("not a picture")
    (folder / "cut.jpg").write_bytes(astronaut.read_bytes()[:9000])
    code, _, err = run("predict", folder, "--out", tmp_path / "faces.csv", "--annotate", tmp_path / "drawn")
    assert code == 1
    for name in ("empty.jpg", "text.jpg", "cut.jpg"):
        assert name in err
    rows = list(csv.DictReader((tmp_path / "faces.csv").open(newline="")))
    assert [Path(r["source"]).name for r in rows] == ["cut.jpg", "empty.jpg", "good.jpg", "text.jpg"]
    assert [bool(r["error"]) for r in rows] == [True, True, False, True]
    assert sorted(p.name for p in (tmp_path / "drawn").iterdir()) == ["blank.jpg", "good.jpg"]


def test_a_picture_without_a_face_is_said_and_is_no_failure(run: Run, blank: Path):
    code, out, err = run("predict", blank)
    assert code == 0
    assert "no face found" in out
    assert "1 picture, 0 faces" in err


def test_where_nothing_can_be_read_no_table_begins(run: Run, tmp_path: Path):
    (tmp_path / "text.jpg").write_text("not a picture")
    code, out, err = run("predict", tmp_path / "text.jpg")
    assert (code, out) == (2, "")
    assert "text.jpg" in err


def test_bytes_come_on_stdin(run: Run, astronaut: Path, monkeypatch: pytest.MonkeyPatch):
    class Stdin(io.TextIOWrapper):
        def isatty(self) -> bool:
            return False

    monkeypatch.setattr(sys, "stdin", Stdin(io.BytesIO(astronaut.read_bytes())))
    code, out, _ = run("predict", "-", "--json")
    assert code == 0
    assert json.loads(out)["source"] == "-"


def test_an_animation_has_a_row_a_frame(run: Run, astronaut: Path, tmp_path: Path):
    frames = [
        Image.open(astronaut).resize((256, 256)),
        Image.new("RGB", (256, 256)),
        Image.open(astronaut).resize((256, 256)),
    ]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=500)
    code, out, _ = run("predict", tmp_path / "a.gif", "--json", "--annotate", tmp_path / "drawn")
    assert code == 0
    assert [(r["frame"], r["time_s"]) for r in map(json.loads, out.splitlines())] == [(0, 0.0), (1, 0.5), (2, 1.0)]
    assert len(list((tmp_path / "drawn").iterdir())) == 3


def test_a_crop_is_read_whole(run: Run, astronaut: Path, tmp_path: Path):
    face = Image.open(astronaut).crop((170, 55, 275, 180)).convert("L").resize((48, 48))
    face.save(tmp_path / "face.png")
    code, out, _ = run("predict", tmp_path / "face.png", "--detector", "whole", "--json")
    assert code == 0
    assert json.loads(out)["box_xyxy"] == [0, 0, 48, 48]


def test_pictures_of_one_name_are_drawn_side_by_side(run: Run, blank: Path, tmp_path: Path):
    sources = [blank, tmp_path / "other/blank.png", tmp_path / "blank-2.png", tmp_path / "other/blank-2.png"]
    (tmp_path / "other").mkdir()
    for source in sources[1:]:
        shutil.copy(blank, source)
    run("predict", *sources, "--annotate", tmp_path / "drawn")
    assert len(list((tmp_path / "drawn").iterdir())) == len(sources)


def test_a_name_that_is_not_text_is_shown_escaped(run: Run, blank: Path, tmp_path: Path):
    odd = os.fsencode(tmp_path) + b"/\xff.png"
    try:
        shutil.copy(blank, odd)
    except OSError:
        pytest.skip("this file system takes no such name")
    code, out, _ = run("predict", os.fsdecode(odd))
    assert code == 0
    assert "\\udcff.png" in out


def test_output_that_exists_is_not_replaced_unasked(run: Run, blank: Path, tmp_path: Path):
    out = tmp_path / "rows.jsonl"
    out.write_text("precious")
    code, _, err = run("predict", blank, "--out", out)
    assert (code, out.read_text()) == (2, "precious")
    assert "--overwrite" in err
    assert run("predict", blank, "--out", out, "--overwrite")[0] == 0
    drawn = tmp_path / "drawn"
    assert run("predict", blank, "--annotate", drawn)[0] == 0
    assert run("predict", blank, "--annotate", drawn)[0] == 2
    assert run("predict", blank, "--annotate", drawn, "--overwrite")[0] == 0


def test_parquet_comes_too(run: Run, group: Path, tmp_path: Path):
    parquet = pytest.importorskip("pyarrow.parquet")
    assert run("predict", group, "--out", tmp_path / "rows.parquet")[0] == 0
    table = parquet.read_table(tmp_path / "rows.parquet").to_pydict()
    assert table["label"] == ["happy"] * 3
    assert "p_surprise" in table


def test_a_huge_picture_is_refused_before_it_is_decoded(run: Run, tmp_path: Path):
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    (tmp_path / "huge.png").write_bytes(data)
    code, _, err = run("predict", tmp_path / "huge.png")
    assert code == 2
    assert "limit" in err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["predict", "nowhere.jpg"], "nowhere.jpg: no such file"),
        (["predict", "{empty}"], "no pictures or videos in this folder"),
        (["predict", "{blank}", "--model", "smiles"], "no model called 'smiles'"),
        (["predict", "{blank}", "--model", "{blank}"], "not an ONNX model"),
        (["predict", "{blank}", "--detector", "harr"], "did you mean 'haar'"),
        (["predict", "{blank}", "--out", "rows.xlsx"], "expected one of .jsonl, .csv, .parquet"),
        (["predict", "{blank}", "--out", "{empty}/none/rows.csv"], "make it first"),
        (["predict", "{blank}", "--annotate", "{blank}"], "expected a folder"),
        (["verify", "{blank}"], "not an ONNX model"),
        (["train", "{empty}", "--out", "{empty}/run"], "no folder 'train'"),
        (["export", "{empty}", "--data", "{empty}", "--out", "x.onnx"], "not a run folder"),
        (["data", "import", "{empty}/fer2013.csv", "--out", "{empty}/out"], "no such file"),
    ],
)
def test_a_mistake_gets_one_clear_line(args: list[str], message: str, run: Run, blank: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    filled = [a.format(empty=tmp_path / "empty", blank=blank) for a in args]
    code, out, err = run(*filled)
    assert code == 2
    assert message in err
    assert err.startswith("mien: ")
    assert not out


@pytest.mark.parametrize("command", ["predict", "verify", "show", "train", "export", "data import"])
def test_every_command_explains_itself_with_an_example(command: str, run: Run):
    code, out, _ = run(*command.split(), "--help")
    assert code == 0
    assert f"mien {command}" in out.split("Example")[1]


def test_version(run: Run):
    import mien

    assert run("--version")[1].strip() == f"mien {mien.__version__}"


def test_verify_and_show_of_the_bundled_model(run: Run):
    code, out, _ = run("verify", "--json")
    assert code == 0
    assert [c["passed"] for c in json.loads(out)["checks"]] == [True] * 5
    manifest = json.loads(run("show")[1])
    assert manifest["classes"] == ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
    assert manifest["metrics"]


def test_verify_fails_on_an_altered_file(run: Run, tiny_bundle: Bundle):
    data = bytearray(tiny_bundle.model)
    data[len(data) // 2] ^= 1
    tiny_bundle.path.write_bytes(bytes(data))
    code, _, err = run("verify", tiny_bundle.path)
    assert code == 2
    assert "altered" in err


def test_another_model_is_used_when_named(run: Run, astronaut: Path, tiny_bundle: Bundle):
    _, out, _ = run("predict", astronaut, "--model", tiny_bundle.path, "--json")
    assert list(json.loads(out)["probabilities"]) == ["happy", "neutral", "sad"]


def test_data_import(run: Run, tmp_path: Path):
    line = " ".join(map(str, np.arange(2304) % 256))
    (tmp_path / "f.csv").write_text(f"emotion,pixels,Usage\n3,{line},Training\n9,{line},Training\n")
    code, out, err = run("data", "import", tmp_path / "f.csv", "--out", tmp_path / "out")
    assert code == 1
    assert "1 pictures" in out
    assert "row 2" in err


@pytest.mark.parametrize("name", HOMES)
def test_a_command_by_itself_is_the_one_among_all_commands(name: str):
    alone, among_all = (typer.main.get_command(line).commands for line in (command_line([name]), mien.cli.app))  # type: ignore[attr-defined]

    def described(command: Any) -> object:
        subcommands = getattr(command, "commands", {})
        parameters = [(p.name, p.opts, p.default, p.required) for p in command.params if not callable(p.default)]
        return command.help, command.epilog, parameters, {n: described(c) for n, c in subcommands.items()}

    assert len(alone) < len(among_all)
    assert described(alone[name]) == described(among_all[name])


def test_a_command_of_training_is_found():
    assert {"train", "export"} <= set(typer.main.get_command(command_line(["train"])).commands)  # type: ignore[attr-defined]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_link_to_itself_is_one_error_row_whatever_is_asked(run: Run, blank: Path, tmp_path: Path):
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(blank, folder / "a.png")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "loop.mp4").symlink_to("loop.mp4")
    for asked in (("--annotate", tmp_path / "drawn"), ("--out", tmp_path / "rows.csv"), ("--json",)):
        code, _, err = run("predict", folder, "--detector", "whole", "--threads", 1, *asked)
        assert code == 1
        assert f"{folder}/loop.png: cannot be read" in err
    code, _, err = run("predict", folder / "loop.mp4", "--eaf", tmp_path / "a.eaf", "--detector", "whole")
    assert (code, "loop.mp4: cannot be read" in err) == (2, True)
