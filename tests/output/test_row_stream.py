"""Rows for pictures without a face, rows for spreadsheets, and rows that go to standard output or a pipe."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from mien.errors import OutputError
from mien.files import descriptor_of, is_stream, write_text
from mien.output.row_stream import RowStream
from mien.output.rows import as_text, rows_of
from mien.output.writers import RowStyle, open_writer
from mien.records import Failure, Frame, FrameReadings

Run = Callable[..., tuple[int, str, str]]
STILL = FrameReadings(Frame(None, "a.png", 0, None), ())
MOMENT = FrameReadings(Frame(None, "a.mp4", 7, 0.28), ())
NAMES = ["=1+1.png", "+1.png", "-1.png", "@a.png", "\t=1.png", "plain.png"]


def test_a_picture_without_a_face_has_a_row_where_that_is_asked_for():
    assert rows_of(STILL) == rows_of(MOMENT) == rows_of(STILL, None) == []
    for result, time_s in ((STILL, None), (MOMENT, 0.28)):
        (row,) = rows_of(result, True)
        assert {k: v for k, v in row.items() if v is not None} == {
            k: v
            for k, v in {"source": result.frame.source, "frame": result.frame.index, "time_s": time_s}.items()
            if v is not None
        }
        assert row.keys() == rows_of(Failure("x", 0, "why"))[0].keys()
    assert rows_of(MOMENT, None) == rows_of(MOMENT, True)


@pytest.mark.parametrize("spreadsheet", [False, True])
def test_cells_for_spreadsheets(tmp_path: Path, spreadsheet: bool):
    path = tmp_path / "a.csv"
    with open_writer(path, ("a",), style=RowStyle(spreadsheet=spreadsheet)) as writer:
        for name in NAMES:
            writer.write(Failure(name, 0, f"-{name}"))
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["source"] for row in rows] == [
        f"'{name}" if spreadsheet and name != "plain.png" else name for name in NAMES
    ]
    assert [row["error"] for row in rows] == ["'" * spreadsheet + f"-{name}" for name in NAMES]
    assert as_text(-1.5) == -1.5


def test_rows_of_a_run_with_and_without_faces(run: Run, tmp_path: Path):
    Image.new("RGB", (60, 60), "teal").save(tmp_path / "blank.png")
    for options, rows in (([], 0), (["--no-face-rows"], 1), (["--face-rows-only"], 0)):
        _, out, _ = run("predict", tmp_path / "blank.png", "--json", "--threads", 1, *options)
        assert len(out.splitlines()) == rows
    moves = Image.new("RGB", (60, 60), "teal")
    moves.save(tmp_path / "moves.gif", save_all=True, append_images=[Image.new("RGB", (60, 60), "navy")], duration=100)
    for options, rows in (([], 2), (["--face-rows-only"], 0)):
        _, out, _ = run("predict", tmp_path / "moves.gif", "--json", "--threads", 1, *options)
        assert [json.loads(line)["frame"] for line in out.splitlines()] == list(range(rows))


posix = pytest.mark.skipif(os.name != "posix", reason="no such names")


@posix
@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_is_written_to_and_not_replaced(tmp_path: Path, name: str):
    """Also where it goes to a file, after what was printed before, and before what comes later."""
    program = (
        "import sys; from pathlib import Path; from mien.files import write_text; print('before');"
        f"write_text(Path({name!r}), 'between\\n'); print('after')"
    )
    with (tmp_path / "out").open("wb") as file:
        subprocess.run([sys.executable, "-c", program], stdout=file, check=True)
    assert (tmp_path / "out").read_text() == "before\nbetween\nafter\n"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@posix
def test_names_that_stand_for_open_files():
    assert [descriptor_of(Path(name)) for name in ("/dev/stdout", "/dev/fd/63", "/dev/fd/x", "/tmp/1")] == [
        1, 63, None, None
    ]  # fmt: skip
    assert is_stream(Path("/dev/null"))
    assert not is_stream(Path("/tmp"))


@posix
@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl", "rows"])
def test_a_pipe_gets_the_rows(tmp_path: Path, name: str):
    os.mkfifo(tmp_path / name)
    found: list[str] = []
    reader = threading.Thread(target=lambda: found.append((tmp_path / name).read_text()))
    reader.start()
    stream = RowStream(tmp_path / name, ("a",), RowStyle(no_face_rows=True))
    stream.add(0, STILL)
    stream.add(1, Failure("b.png", 0, "why"))
    stream.close()
    reader.join()
    lines = found[0].splitlines()
    rows = [json.loads(line) for line in lines] if name == "rows.jsonl" else list(csv.DictReader(io.StringIO(found[0])))
    assert [row["source"] for row in rows] == ["a.png", "b.png"]
    assert not (tmp_path / name).is_file()  # still a pipe
    (tmp_path / "rows.parquet").unlink(missing_ok=True)
    os.mkfifo(tmp_path / "rows.parquet")
    with pytest.raises(OutputError, match="needs a file"):
        RowStream(tmp_path / "rows.parquet", ("a",))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_device_is_one_line(run: Run, tmp_path: Path):
    Image.new("RGB", (60, 60), "teal").save(tmp_path / "blank.png")
    code, _, err = run("predict", tmp_path / "blank.png", "--out", "/dev/full", "--threads", 1)
    assert (code, err) == (2, "mien: /dev/full: cannot be written (No space left on device)\n")
    with pytest.raises(OutputError, match="No space left on device"):
        write_text(Path("/dev/full"), "x")
