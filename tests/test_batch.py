"""Many pictures: in order on any number of processes, killed and resumed, copies left out."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.batch import Job, read_items
from mien.media import list_items
from mien.output.journal import Journal, journal_of
from mien.output.writers import open_writer
from mien.pipeline import Recognizer
from mien.records import Face, Failure

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, astronaut: Path) -> Path:
    """40 small pictures with a face, one without, one broken, and an animation."""
    root = tmp_path_factory.mktemp("many")
    face = Image.open(astronaut).convert("RGB").resize((160, 160))
    for number in range(40):
        face.rotate(number / 4).save(root / f"{number:02}.jpg", quality=90)
    Image.new("RGB", (60, 60), "teal").save(root / "blank.png")
    (root / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    face.save(root / "moves.gif", save_all=True, append_images=[face.rotate(5)], duration=100)
    return root


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_workers_give_the_same_rows_in_the_same_order(run: Run, folder: Path, tmp_path: Path):
    code, _, err = run("predict", folder, "--out", tmp_path / "one.jsonl", "--threads", 1)
    assert code == 1
    assert "broken.jpg" in err
    code, _, err = run(
        "predict", folder, "--out", tmp_path / "two.jsonl", "--threads", 2, "--workers", 2, "--annotate", tmp_path / "a"
    )
    assert code == 1
    assert "43 pictures, 42 faces, 1 failed" in err
    assert rows(tmp_path / "two.jsonl") == rows(tmp_path / "one.jsonl")
    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert len(names) == 43
    assert {"00.jpg", "39.jpg", "blank.jpg", "moves-00001.jpg"} <= names


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv"])
def test_killed_and_resumed_no_row_is_lost_or_doubled(run: Run, folder: Path, tmp_path: Path, name: str):
    target, partial = tmp_path / name, tmp_path / (name + ".partial")
    command = [sys.executable, "-m", "mien", "predict", str(folder), "--out", str(target), "--threads", "1"]
    with subprocess.Popen([*command, "--workers", "2"], stderr=subprocess.DEVNULL) as process:
        while not partial.exists() or partial.stat().st_size < 3000:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert not target.exists()
    with partial.open("ab") as file:  # a row that was being written
        file.write(b'{"source": "hal')
    begun = len(journal_of(partial).read_bytes().splitlines()) - 1
    assert begun > 0  # not from the start
    code, _, err = run("predict", folder, "--out", target, "--threads", 1, "--resume")
    assert code == 1
    assert "43 pictures, 42 faces, 1 failed" in err  # of both calls
    assert not partial.exists()
    assert not journal_of(partial).exists()
    run("predict", folder, "--out", tmp_path / f"whole-{name}", "--threads", 1)
    assert target.read_bytes() == (tmp_path / f"whole-{name}").read_bytes()
    code, _, err = run("predict", folder, "--out", target, "--resume")
    assert code == 1  # that of the whole run
    assert err.startswith(f"mien: {target} is complete; nothing is left to do\n43 pictures, 42 faces, 1 failed")
    code, _, err = run("predict", folder / "00.jpg", "--out", target, "--resume", "--detector", "whole")
    assert code == 2
    assert "items was 43, is 1" in err
    assert 'detector was "yunet", is "whole"' in err


def test_the_run_of_another_command_is_not_gone_on_with(run: Run, folder: Path, tmp_path: Path):
    target = tmp_path / "rows.jsonl"
    partial = tmp_path / "rows.jsonl.partial"
    partial.write_text("{}")
    code, _, err = run("predict", folder, "--out", target, "--resume")
    assert code == 2
    assert "cannot be gone on with (no journal rows.jsonl.partial.run, or a damaged one)" in err
    Journal.begin(partial, {"sources": ["elsewhere"], "items": 3, "detector": "haar", "blur_faces": True}).close()
    code, _, err = run("predict", folder, "--out", target, "--resume")
    assert code == 2
    assert 'sources was ["elsewhere"], is' in err
    assert 'detector was "haar", is "yunet"' in err
    assert "blur_faces was true, is false" in err
    assert partial.exists()


def test_what_is_resumed_has_to_be_written(run: Run, folder: Path):
    code, _, err = run("predict", folder, "--resume")
    assert code == 2
    assert "name it with --out" in err


def test_pictures_without_faces_count_as_done(tmp_path: Path):
    about = {"sources": ["x"]}
    writer = open_writer(tmp_path / "a.csv", ("x",), run=about)
    writer.done(7)
    writer.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    with open_writer(tmp_path / "a.csv", ("x",), run=about, resume=True) as writer:
        assert (writer.items, writer.rows) == (7, 0)
    assert (tmp_path / "a.csv").read_text().count("source") == 1


def test_copies_are_read_once_when_asked(run: Run, folder: Path, tmp_path: Path):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        shutil.copy(folder / "00.jpg", tmp_path / name)
    shutil.copy(folder / "20.jpg", tmp_path / "d.jpg")
    code, _, err = run("predict", tmp_path, "--out", tmp_path / "rows.jsonl", "--dedupe", "--threads", 1)
    assert code == 0
    assert "2 pictures, 2 faces, 2 copies left out" in err
    assert [Path(r["source"]).name for r in rows(tmp_path / "rows.jsonl")] == ["a.jpg", "d.jpg"]


def test_the_profile_names_the_stages(run: Run, folder: Path):
    _, _, err = run("predict", folder / "00.jpg", "--profile", "--threads", 1)
    stages = {line.split()[0] for line in err.splitlines()}
    assert {"stage", "decode", "detect", "crop", "classify", "write"} <= stages


@pytest.mark.parametrize("name", ["all.zip", "all.tar.gz"])
def test_archives_give_what_the_folder_gives(run: Run, folder: Path, tmp_path: Path, name: str):
    kind, suffix = ("zip", ".zip") if name.endswith("zip") else ("gztar", ".tar.gz")
    part = tmp_path / "part"
    part.mkdir()
    for picture in ("00.jpg", "20.jpg", "broken.jpg", "moves.gif"):
        shutil.copy(folder / picture, part)
    archive = Path(shutil.make_archive(str(tmp_path / name.removesuffix(suffix)), kind, part))
    rows_of: dict[Path, list[dict]] = {}
    for source in (part, archive):
        out = tmp_path / f"{source.name}.jsonl"
        run("predict", source, "--out", out, "--threads", 1, "--annotate", tmp_path / f"seen-{source.name}")
        rows_of[source] = [{k: v for k, v in row.items() if k not in ("source", "error")} for row in rows(out)]
    assert rows_of[archive] == rows_of[part]
    drawn = [sorted(p.name for p in (tmp_path / f"seen-{s.name}").iterdir()) for s in (part, archive)]
    assert drawn[0] == drawn[1]


class Deadly:
    """A detector that dies of black pictures."""

    name = "deadly"

    def detect(self, image: np.ndarray) -> list[Face]:
        if not image.any():
            os._exit(9)
        return [Face((0.0, 0.0, 20.0, 20.0), 1.0, None, "deadly")]


@dataclass(frozen=True)
class DeadlyJob(Job):
    """Lets workers die."""

    def recognizer(self) -> Recognizer:
        return Recognizer(self.model, Deadly(), threads=1)


def test_a_picture_that_kills_its_worker_is_named_and_the_rest_go_on(tmp_path: Path):
    for number in range(30):
        Image.new("RGB", (40, 40), "black" if number == 9 else "white").save(tmp_path / f"{number:02}.png")
    job = DeadlyJob("default", "deadly")
    found = list(read_items(enumerate(list_items([str(tmp_path)])), job, job.recognizer(), workers=2))
    assert [number for number, _ in found] == list(range(30))
    failures = [result for _, result in found if isinstance(result, Failure)]
    assert len(failures) == 1
    assert "09.png: reading it killed the process" in failures[0].message
