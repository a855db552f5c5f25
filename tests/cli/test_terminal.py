"""What reaches a terminal: our own words, escaped; a word on Ctrl-C; nothing of other libraries."""

from __future__ import annotations

import ast
import json
import logging
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from mien.batch import Job
from mien.cli import terminal
from mien.cli.terminal import Interrupted, prepare_terminal
from mien.errors import MienError, Remedy, note_kept
from mien.model.bundle import write_bundle
from mien.output.journal import journal_of
from tests.models import tiny_golden, tiny_manifest, tiny_onnx

Run = Callable[..., tuple[int, str, str]]
SRC = Path(__file__).parents[2] / "src"
COMMANDS = sorted([*SRC.glob("mien/cli/*.py"), *SRC.glob("mien_train/cli/*.py")])
CLEAR = "\x1b[2J\x1b]0;mine\x07\nmien: all is well"


@pytest.mark.parametrize("path", COMMANDS, ids=lambda p: f"{p.parents[1].name}-{p.stem}")
def test_commands_print_in_one_place(path: Path):
    """`mien.cli.output` escapes what it prints."""
    if path.name in ("output.py", "terminal.py"):
        return
    called = [ast.unparse(n.func) for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Call)]
    printing = [name for name in called if name in ("print", "typer.echo", "typer.secho", "click.echo")]
    assert printing == (["typer.echo"] if path == SRC / "mien/cli/__init__.py" else [])  # the version


@pytest.mark.skipif(sys.platform == "win32", reason="no such names")
def test_names_cannot_clear_the_screen_or_forge_a_line(run: Run, tmp_path: Path):
    classes = [tmp_path / "data/test" / f"{name}{CLEAR.replace('/', '')}" for name in ("happy", "sad")]
    for number, folder in enumerate(classes):
        folder.mkdir(parents=True)
        for shade in (40, 200):
            Image.new("RGB", (48, 48), (shade, 80 * number, 9)).save(folder / f"{shade}{CLEAR[:4]}.png")
        (folder / f"broken{CLEAR.replace('/', '')}.png").write_bytes(b"no picture")
    for command in (
        ("predict", tmp_path / "data", "--detector", "whole"),
        ("predict", tmp_path / "data", "--detector", "whole", "--json"),
        ("audit", tmp_path / "data", "--faces", "none", "--no-labels"),
        ("evaluate", tmp_path / "data", "--split", "test"),
        ("predict", f"no{CLEAR}"),
    ):
        _, out, err = run(*command, "--threads", 1)
        assert (out + err).replace("\n", "").isprintable(), command
        assert not [line for line in (out + err).splitlines() if line.startswith("mien: all is well")], command


def test_warnings_of_ours_are_told_and_those_of_others_are_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's own would take the records
    with warnings.catch_warnings():
        prepare_terminal()
        prepare_terminal()
        warnings.warn("of another library", UserWarning, stacklevel=1)
        logging.getLogger("another").warning("of another library")
        logging.getLogger("mien").warning("few pictures of %s", "a\x1b[2Jb")
    assert capsys.readouterr().err == "mien: few pictures of a\\x1b[2Jb\n"


def test_json_stays_json_whatever_the_classes_are_called(run: Run, tmp_path: Path, astronaut: Path):
    names = ("hap\x1b[2Jpy", "neu\x9btral\x7f", "sad\u202e\u4e2d")
    bundle = write_bundle(tmp_path / "a.onnx", tiny_onnx(), tiny_manifest(classes=names), tiny_golden())
    for command in (("show", bundle.path), ("verify", bundle.path, "--json"), ("predict", astronaut, "--json")):
        model = () if command[0] != "predict" else ("--model", bundle.path, "--threads", 1)
        code, out, _ = run(*command, *model)
        assert (code, out.replace("\n", "").isprintable()) == (0, True)
        said = json.loads(out)
        if command[0] != "verify":
            assert tuple(said.get("classes") or said["probabilities"]) == names


@pytest.mark.skipif(sys.platform == "win32", reason="other words")
def test_no_message_fills_a_screen(run: Run, tmp_path: Path):
    code, _, err = run("predict", "x" * 5000 + ".jpg")
    assert code == 2
    assert len(err) < 900
    assert err.rstrip().endswith("cannot be read (File name too long)")
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff\xe0\0\x10JFIF\0")
    code, _, err = run("evaluate", tmp_path / "a.jpg")
    assert (code, err) == (2, f"mien: {tmp_path}/a.jpg: no text; expected a CSV file with the columns path, label\n")


def test_ctrl_c_says_what_is_kept_and_how_to_go_on():
    error = KeyboardInterrupt()
    assert str(Interrupted(error)) == f"interrupted; {terminal.NOTHING}"
    note_kept(error, "3 rows are kept in a.csv.partial", Remedy.RESUME)
    expected = "interrupted; 3 rows are kept in a.csv.partial; the same command goes on there (--resume)"
    assert str(Interrupted(error)) == expected
    ours = MienError("no room")
    note_kept(ours, "3 rows are kept", Remedy.RESUME)
    assert (str(ours), ours.remedies) == ("no room; 3 rows are kept", (Remedy.RESUME,))


def test_a_command_that_is_interrupted_says_so(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    for number in range(3):
        Image.new("RGB", (48, 48), "teal").save(tmp_path / f"{number}.png")
    monkeypatch.setattr(Job, "recognizer", interrupt)
    code, _, err = run("predict", tmp_path)
    assert (code, err) == (130, f"mien: interrupted; {terminal.NOTHING}\n")


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="no such signals")
def test_ctrl_c_reaches_workers_without_a_traceback(astronaut: Path, tmp_path: Path):
    """A terminal sends it to every process of the command: to workers, too, while they import what they need."""
    Image.open(astronaut).resize((160, 160)).save(tmp_path / "0.png")
    for number in range(1, 1000):
        (tmp_path / f"{number}.png").hardlink_to(tmp_path / "0.png")
    rows = tmp_path / "rows.csv"
    command = [sys.executable, "-m", "mien", "predict", str(tmp_path), "--out", str(rows), "--workers", "2"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stderr
        journal = journal_of(rows.with_name("rows.csv.partial"))
        while not journal.exists():
            assert process.poll() is None
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        err = process.stderr.read()
    assert process.returncode == 130
    assert "Traceback" not in err
    assert err.startswith("mien: interrupted; ")
