"""Readings -> files -> readings."""

from __future__ import annotations

import csv
import errno
import gzip
import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.errors import MediaError, OutputError
from mien.output.rows import LANDMARK_NAMES, flat, json_line, rows_of
from mien.output.writers import open_writer
from mien.records import Expression, Face, Failure, Frame, FrameReadings, Reading

CLASSES = ("angry", "happy", "error")
LANDMARKS = ((10.126, 20.0), (30.5, 20.25), (20.0, 30.0), (12.0, 40.0), (28.0, 41.0))
FORMATS = ("out.jsonl", "out.csv", "out.parquet", "out.csv.gz", "out.jsonl.gz")
FAILURE = Failure("broken.jpg", 0, "broken.jpg: the file is empty (0 bytes); expected a picture")


def reading(source: str = "a.jpg", frame: int = 0, time_s: float | None = None, landmarks=LANDMARKS, **face) -> Reading:
    box = face.pop("box", (1.004, 2.0, 33.336, 44.0))
    probabilities = face.pop("probabilities", (0.1, 0.7, 0.2))
    found = Face(box, 0.987654321, landmarks, "libface", **face)
    return Reading(source, frame, time_s, found, Expression(CLASSES, probabilities))


def frame_of(*readings: Reading, source: str = "a.jpg") -> FrameReadings:
    return FrameReadings(Frame(np.zeros((4, 4, 3), np.uint8), source), readings)


def write(path: Path, *items: FrameReadings | Failure) -> Path:
    with open_writer(path, CLASSES) as writer:
        for item in items:
            writer.write(item)
    return path


def load(path: Path, suffix: str | None = None) -> list[dict]:
    """Rows of any of the formats, flat, an empty cell as None, numbers as float."""
    if suffix is None and path.suffix == ".gz":
        unpacked = path.with_name(f"unpacked{Path(path.stem).suffix}")
        unpacked.write_bytes(gzip.decompress(path.read_bytes()))
        rows = load(unpacked)
        unpacked.unlink()
        return rows
    suffix = suffix or path.suffix
    if suffix == ".parquet":
        return pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()
    if suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            rows = [{name: cell or None for name, cell in row.items()} for row in csv.DictReader(file)]
        texts = {"source", "detector", "label", "error", "answer"}
        return [{k: v if v is None or k in texts else float(v) for k, v in row.items()} for row in rows]
    return [flat(json.loads(line), CLASSES) for line in path.read_text(encoding="utf-8").splitlines()]


# --- rows -------------------------------------------------------------------------------------------------------------


def test_a_row():
    assert rows_of(frame_of(reading(frame=3, time_s=0.12345))) == [
        {
            "source": "a.jpg",
            "frame": 3,
            "time_s": 0.123,
            "face": 0,
            "track": None,
            "box_xyxy": [1.0, 2.0, 33.34, 44.0],
            "score": 0.987654,
            "detector": "libface",
            "landmarks_xy": [[10.13, 20.0], [30.5, 20.25], [20.0, 30.0], [12.0, 40.0], [28.0, 41.0]],
            "label": "happy",
            "confidence": 0.7,
            "probabilities": {"angry": 0.1, "happy": 0.7, "error": 0.2},
            "error": None,
            "answer": None,
            "disagreement": 0.729847,
            "unsure": 0,
            "note": None,
        }
    ]


def test_an_error_row():
    (row,) = rows_of(FAILURE)
    assert {name: cell for name, cell in row.items() if cell is not None} == {
        "source": "broken.jpg",
        "frame": 0,
        "error": FAILURE.message,
    }
    assert row.keys() == rows_of(frame_of(reading()))[0].keys()


def test_numpy_numbers_become_json():
    box = tuple(np.float32([1, 2, 3, -0.001]))
    (row,) = rows_of(frame_of(reading(box=box, probabilities=tuple(np.float32([0.1, 0.7, 0.2])))))
    text = json_line(row)
    assert '"box_xyxy": [1.0, 2.0, 3.0, 0.0]' in text
    assert json.loads(text)["probabilities"] == {"angry": 0.1, "happy": 0.7, "error": 0.2}


# --- round trips ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_round_trip(tmp_path, name):
    items = [frame_of(reading(), reading(landmarks=None)), FAILURE, frame_of(), frame_of(reading("b.gif", 2, 0.3))]
    rows = load(write(tmp_path / name, *items))
    assert [(row["source"], row["frame"], row["face"]) for row in rows] == [
        ("a.jpg", 0, 0),
        ("a.jpg", 0, 1),
        ("broken.jpg", 0, None),
        ("b.gif", 2, 0),
    ]
    first, without_landmarks, failed, last = rows
    assert (first["x1"], first["y2"], first["score"], first["time_s"]) == (1.0, 44.0, 0.987654, None)
    assert (first["left_eye_x"], first["right_mouth_y"]) == (10.13, 41.0)
    assert (first["label"], first["confidence"]) == ("happy", 0.7)
    assert (first["p_angry"], first["p_happy"], first["p_error"], first["error"]) == (0.1, 0.7, 0.2, None)
    assert without_landmarks["nose_x"] is None
    assert (failed["error"], failed["p_error"], failed["x1"]) == (FAILURE.message, None, None)
    assert last["time_s"] == 0.3
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", FORMATS)
def test_no_faces_at_all(tmp_path, name):
    path = write(tmp_path / name, frame_of(), frame_of())
    assert load(path) == []
    if name == "out.csv":
        assert path.read_text().startswith("source,frame,time_s,face,track,x1,y1,x2,y2,score,detector,left_eye_x,")
        assert path.read_text().rstrip().endswith("p_angry,p_happy,p_error,error,answer,disagreement,unsure,note")


def test_every_format_has_the_same_columns_and_values(tmp_path):
    tables = [load(write(tmp_path / name, frame_of(reading()), FAILURE)) for name in FORMATS]
    assert tables[0] == tables[1] == tables[2]
    assert list(tables[0][0]) == list(tables[1][0]) == list(tables[2][0])
    assert {f"{name}_{axis}" for name in LANDMARK_NAMES for axis in "xy"} < tables[0][0].keys()


def test_parquet_types(tmp_path):
    schema = pytest.importorskip("pyarrow.parquet").read_schema(write(tmp_path / "out.parquet", FAILURE))
    kinds = {
        name: str(schema.field(name).type) for name in ("source", "frame", "face", "x1", "p_happy", "unsure", "note")
    }
    assert kinds == {
        "source": "string",
        "frame": "int64",
        "face": "int64",
        "x1": "double",
        "p_happy": "double",
        "unsure": "int64",
        "note": "string",
    }


def test_parquet_in_several_row_groups(tmp_path, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("mien.output.parquet.PARQUET_ROWS", 4)
    path = write(tmp_path / "out.parquet", *[frame_of(reading(frame=index)) for index in range(10)])
    assert parquet.ParquetFile(path).num_row_groups == 3
    assert [row["frame"] for row in load(path)] == list(range(10))


SOURCES = st.text(st.sampled_from("a,;\"'\n\r\t =+-@\\/é高\U0001f600\udc80\udcff\u2028"), min_size=1, max_size=12)


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=30, deadline=None)
@given(sources=st.lists(SOURCES, min_size=1, max_size=4))
def test_odd_file_names(name, sources):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        items = [frame_of(reading(source)) for source in sources] + [Failure(source, 0, source) for source in sources]
        with open_writer(path, CLASSES) as writer:
            for item in items:
                writer.write(item)
        data = path.read_bytes()
        if name.endswith(".gz"):
            data, name = gzip.decompress(data), name.removesuffix(".gz")
        if name != "out.parquet":
            data.decode("utf-8")
        if name == "out.jsonl":
            lines = data.decode().split("\n")[:-1]
            assert [json.loads(line)["source"] for line in lines] == sources * 2
            return
        escaped = [source.encode("utf-8", "backslashreplace").decode() for source in sources]
        rows = load(path)
        assert [row["source"] for row in rows] == escaped * 2
        assert [row["error"] for row in rows] == [None] * len(sources) + escaped


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1e5, 1e5), min_size=4, max_size=4), st.floats(0, 1))
def test_numbers_are_rounded_alike(box, part):
    with tempfile.TemporaryDirectory() as folder:
        item = frame_of(reading(box=tuple(box), probabilities=(part, 1 - part, 0.0)))
        first, *others = (load(write(Path(folder, name), item))[0] for name in FORMATS)
    assert others == [first] * (len(FORMATS) - 1)
    assert first["x1"] == pytest.approx(box[0], abs=0.0051)
    assert first["p_angry"] == pytest.approx(part, abs=0.6e-6)


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_an_existing_file_is_kept_unless_asked(tmp_path, name):
    path = write(tmp_path / name, FAILURE)
    before = path.read_bytes()
    with pytest.raises(OutputError, match=f"{name}: exists already; choose another name, or replace it"):
        open_writer(path, CLASSES)
    assert path.read_bytes() == before
    with open_writer(path, CLASSES, overwrite=True) as writer:
        writer.write(frame_of(reading()))
        assert path.read_bytes() == before
    assert load(path)[0]["label"] == "happy"


def test_rows_of_an_unfinished_run_are_kept_unless_asked(tmp_path):
    (tmp_path / "out.csv.partial").write_text("precious")
    with pytest.raises(OutputError, match=r"out\.csv\.partial: rows of a run that did not finish; go on with it"):
        open_writer(tmp_path / "out.csv", CLASSES)
    assert (tmp_path / "out.csv.partial").read_text() == "precious"
    open_writer(tmp_path / "out.csv", CLASSES, overwrite=True).close()
    assert not (tmp_path / "out.csv.partial").exists()


@pytest.mark.parametrize("name", ["out", "out.txt", "out.txt.gz", "out.gz", "out.parquet.gz", ".csv"])
def test_other_suffixes(tmp_path, name):
    with pytest.raises(
        OutputError, match=r"expected one of \.jsonl, \.csv, \.parquet, \.jsonl\.gz, \.csv\.gz for results, found"
    ):
        open_writer(tmp_path / name, CLASSES)


def test_suffix_in_capitals(tmp_path):
    assert load(write(tmp_path / "OUT.CSV", FAILURE), ".csv")[0]["source"] == "broken.jpg"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("folder.csv", "a folder; expected the name of a file"),
        ("absent/out.csv", "there is no folder .*absent; make it first"),
        ("file/out.csv", "there is no folder .*file; make it first"),
        ("x" * 300 + ".csv", "cannot be written"),
        ("a\0b.csv", "cannot be written"),
    ],
)
def test_places_that_cannot_be_written(tmp_path, name, message):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=message):
        open_writer(tmp_path / name, CLASSES)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.csv"]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder in which nobody can write")
def test_a_folder_without_permission():
    with pytest.raises(OutputError, match=r"out\.csv: cannot be written \("):
        open_writer(Path("/proc/self/out.csv"), CLASSES)


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(OutputError, match=r"needs pyarrow: pip install 'mien\[parquet\]'"):
        open_writer(tmp_path / "out.parquet", CLASSES)
    assert list(tmp_path.iterdir()) == []


def test_a_reading_of_another_model(tmp_path):
    with (
        pytest.raises(ValueError, match="expected the classes"),
        open_writer(tmp_path / "out.csv", ("a", "b")) as writer,
    ):
        writer.write(frame_of(reading()))


# --- nothing written is lost ------------------------------------------------------------------------------------------


def load_partial(path: Path) -> list[dict]:
    partial = path.with_name(path.name + ".partial")
    return load(partial, ".csv" if ".csv" in path.suffixes else ".jsonl")


@pytest.mark.parametrize("name", FORMATS)
def test_rows_are_there_as_soon_as_written(tmp_path, name):
    with open_writer(tmp_path / name, CLASSES) as writer:
        for count in range(1, 4):
            writer.write(frame_of(reading()))
            assert writer.rows == count
            assert len(load_partial(tmp_path / name)) == count
            assert not (tmp_path / name).exists()
    assert not (tmp_path / (name + ".partial")).exists()


@pytest.mark.parametrize("name", FORMATS)
def test_an_error_in_the_block_keeps_the_rows_and_says_where(tmp_path, name):
    writer = open_writer(tmp_path / name, CLASSES)
    with pytest.raises(MediaError, match="the camera is gone; 1 row is kept in ") as caught:
        _fill_and_raise(writer, MediaError("the camera is gone"))
    assert f"{tmp_path / name}.partial" in str(caught.value)
    assert len(load_partial(tmp_path / name)) == 1
    assert not (tmp_path / name).exists()


def test_other_errors_keep_their_type_and_get_a_note(tmp_path):
    writer = open_writer(tmp_path / "out.csv", CLASSES)
    with pytest.raises(KeyboardInterrupt) as caught:
        _fill_and_raise(writer, KeyboardInterrupt())
    if sys.version_info >= (3, 11):
        assert caught.value.__notes__ == [writer.kept]
    assert writer.kept == f"1 row is kept in {tmp_path / 'out.csv.partial'}"


def _fill_and_raise(writer, error):
    with writer:
        writer.write(frame_of(reading()))
        raise error


def test_nothing_is_left_of_a_run_without_rows(tmp_path):
    with pytest.raises(MediaError, match="gone; no rows are kept"), open_writer(tmp_path / "out.csv", CLASSES):
        raise MediaError("gone")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize("name", FORMATS)
def test_killed_in_the_middle(tmp_path, name):
    program = textwrap.dedent("""
        import os, signal, sys
        from pathlib import Path
        from mien.records import Failure
        from mien.output.writers import open_writer
        with open_writer(Path(sys.argv[1]), ("a", "b")) as writer:
            for index in range(5):
                writer.write(Failure(f"{index}.jpg", 0, "why"))
            os.kill(os.getpid(), signal.SIGKILL)
    """)
    done = subprocess.run([sys.executable, "-c", program, tmp_path / name], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [row["source"] for row in load_partial(tmp_path / name)] == [f"{index}.jpg" for index in range(5)]


class _Disk:
    """A file on a disk with room for `room` bytes; like a real one it writes what fits before it fails."""

    def __init__(self, file, room: int) -> None:
        self._file, self.room = file, room
        self.name = file.name

    def write(self, data: bytes) -> int:
        self._file.write(data[: self.room])
        self.room -= len(data)
        if self.room < 0:
            self._file.flush()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return len(data)

    def __getattr__(self, name):
        return getattr(self._file, name)


@pytest.mark.parametrize("name", FORMATS)
def test_full_disk(tmp_path, name):
    writer = open_writer(tmp_path / name, CLASSES)
    writer.write(frame_of(reading("1")))
    writer.write(frame_of(reading("2")))
    writer._file = _Disk(writer._file, room=50)
    lines = " as JSON lines" if name == "out.parquet" else ""
    with pytest.raises(OutputError) as caught, writer:
        writer.write(frame_of(reading("3")))
    target = tmp_path / name
    assert str(caught.value) == (
        f"{target}: cannot be written (No space left on device); 2 rows are kept in {target}.partial{lines}"
    )
    assert [row["source"] for row in load_partial(target)] == ["1", "2"]  # not half of the third


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_device(tmp_path):
    (tmp_path / "out.csv.partial").symlink_to("/dev/full")
    with pytest.raises(OutputError, match=r"out\.csv: cannot be written \(No space left on device\); no rows are kept"):
        open_writer(tmp_path / "out.csv", CLASSES, overwrite=True)


def test_no_room_for_the_parquet_file(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", lambda _: None)
    writer = open_writer(tmp_path / "out.parquet", CLASSES)
    writer.write(frame_of(reading()))
    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OutputError, match=r"No space left on device\); 1 row is kept in .*partial as JSON lines"):
        writer.close()
    assert len(load_partial(tmp_path / "out.parquet")) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet.partial"]


def test_closing_twice(tmp_path):
    writer = open_writer(tmp_path / "out.jsonl", CLASSES)
    writer.write(FAILURE)
    writer.close()
    writer.close()
    assert len(load(tmp_path / "out.jsonl")) == 1
