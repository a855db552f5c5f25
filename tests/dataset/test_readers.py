"""One table of split names and one reader of CSV files, whatever people call and save them."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from mien.cli import app
from mien.cli.terminal import Interrupted
from mien.dataset import SPLIT_NAMES, check_training_data, import_fer2013, open_dataset, open_splits, split_named
from mien.errors import DatasetError, Remedy
from mien.locks import locked
from mien.progress import SilentProgress

CLASSES = ("happy", "sad")
NAMES = ("angry", "Disgust", "FEAR", "happiness", "sad", "surprise")


def picture(path: Path, level: int = 100) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((48, 48), level, np.uint8)).save(path, "PNG")


def faces(count: int = 6) -> list[list[str]]:
    usages = ("Training", "PublicTest", "PrivateTest")
    return [[str(i % 7), " ".join([str(i)] * 48 * 48), usages[i % 3]] for i in range(count)]


def text_of(rows: list[list[str]], header: str = "emotion,pixels,Usage\n", comma: str = ",") -> str:
    return header + "".join(comma.join(row) + "\n" for row in rows)


@given(st.sampled_from(sorted(SPLIT_NAMES)), st.data())
def test_names_of_splits_have_no_case(name: str, data: st.DataObject):
    written = "".join(c.upper() if data.draw(st.booleans()) else c for c in name)
    assert split_named(written) == split_named(f" {written} ") == SPLIT_NAMES[name]


@pytest.mark.parametrize(
    ("train", "validation"), [("Train", "Validation"), ("Training", "PublicTest"), ("TRAIN", "val")]
)
def test_folders_and_cells_know_the_same_names(tmp_path: Path, train: str, validation: str):
    rows = [("Path", " LABEL ", "Split")]
    for split in (train, validation):
        for label in CLASSES:
            picture(tmp_path / split / label / "1.png")
            rows.append((f"{split}/{label}/1.png", label, split))
    with (tmp_path / "t.csv").open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows(rows)
    for data in (tmp_path, tmp_path / "t.csv"):
        assert [split.name for split in open_splits(data)] == ["train", "validation"]
        assert len(open_dataset(data, "PublicTest")) == 2
        check_training_data(data)


def test_two_folders_for_one_split_are_refused(tmp_path: Path):
    for split in ("val", "Validation"):
        picture(tmp_path / split / "happy/a.png")
    with pytest.raises(DatasetError, match="'Validation' and 'val' both mean split 'validation'"):
        open_dataset(tmp_path, "validation")


def test_a_class_folder_that_holds_folders_of_pictures_looks_like_a_split(tmp_path: Path):
    for fold in ("fold1", "fold2"):
        picture(tmp_path / fold / "happy/a.png")
    with pytest.raises(DatasetError, match=r"fold1: .*folders of pictures \(happy\): it looks like a split"):
        open_dataset(tmp_path, "validation")


def test_pictures_are_known_by_content_and_the_rest_counted(tmp_path: Path):
    for label in CLASSES:
        picture(tmp_path / label / "a.jfif")
        picture(tmp_path / label / "no_suffix")
        picture(tmp_path / label / ".hidden.png")
        (tmp_path / label / "notes.txt").write_text("BMW and other words")
    split = open_dataset(tmp_path, "validation")
    assert len(split) == 4
    assert split.passed_over == {".txt": 2}


@pytest.mark.parametrize(
    "data",
    [
        text_of([[e, u, p] for e, p, u in faces()], "emotion, Usage, pixels\n").encode(),
        text_of(faces()).encode("utf-8-sig"),
        text_of(faces()).encode("utf-16"),
        text_of(faces()).replace("Training", "training").encode(),
        text_of(faces(), comma=", ").encode(),
        text_of(faces(), header="").encode(),
        text_of([[NAMES[int(e)], p, u] for e, p, u in faces()]).encode(),
        text_of(faces(), "emotion,pixels,Usage,note\n").replace("Test\n", "Test,caf\xe9\n").encode("latin-1"),
        gzip.compress(text_of(faces()).encode()),
        text_of(faces()).replace(",", ";").encode(),
        text_of(faces()).replace(",", "\t").encode("utf-16"),
        b"sep=;\r\n" + text_of(faces()).replace(",", ";").encode(),
    ],
    ids=[
        "icml", "bom", "utf16", "lower", "blanks", "no header", "names", "latin1", "gzip", "semicolons", "tabs",
        "told separator",
    ],
)  # fmt: skip
def test_every_spelling_of_fer2013_gives_the_same_pictures(tmp_path: Path, data: bytes):
    (tmp_path / "f.csv").write_bytes(data)
    report = import_fer2013(tmp_path / "f.csv", tmp_path / "out")
    assert not report.failed
    assert sorted(report.written) == [
        ("test", "fear"), ("test", "surprise"), ("train", "angry"), ("train", "happy"), ("validation", "disgust"),
        ("validation", "sad"),
    ]  # fmt: skip


@pytest.mark.parametrize("damage", ["junk", "cut", "long"])
def test_what_stands_before_the_damage_is_imported(tmp_path: Path, damage: str):
    whole = text_of(faces()).encode()
    packed = gzip.compress(whole)
    data = {
        "junk": whole + bytes(512) + b"\xff\xfe rest of a tar\n",
        "cut": packed[: len(packed) - 20],
        "long": whole + b"1" * 5_000_000,
    }[damage]
    (tmp_path / "f.csv").write_bytes(data)
    report = import_fer2013(tmp_path / "f.csv", tmp_path / "out")
    assert report.written.total() >= 5
    assert len(report.failed) == 1
    assert len(report.failed[0]) < 500


def test_nothing_usable_names_the_first_rows_in_few_words(tmp_path: Path):
    rows = [["9", pixels, usage] for _, pixels, usage in faces()]
    (tmp_path / "f.csv").write_text(text_of(rows))
    with pytest.raises(DatasetError, match=r"row 1: column emotion: expected 0..6, found '9'") as error:
        import_fer2013(tmp_path / "f.csv", tmp_path / "out")
    assert len(str(error.value)) < 600
    assert not (tmp_path / "out").exists()


def test_an_import_that_is_interrupted_leaves_all_as_it_was_and_says_so(tmp_path: Path):
    class Stopped(SilentProgress):
        def update(self, what: str, done: int, total: int | None = None, note: str = "") -> None:
            raise KeyboardInterrupt

    (tmp_path / "f.csv").write_text(text_of(faces()))
    with pytest.raises(KeyboardInterrupt) as stopped:
        import_fer2013(tmp_path / "f.csv", tmp_path / "out", progress=Stopped())
    assert "nothing is there; the same command begins anew" in str(Interrupted(stopped.value))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f.csv"]
    import_fer2013(tmp_path / "f.csv", tmp_path / "out")
    before = sorted((tmp_path / "out").rglob("*"))
    with pytest.raises(KeyboardInterrupt) as stopped:
        import_fer2013(tmp_path / "f.csv", tmp_path / "out", progress=Stopped(), overwrite=True)
    assert "what it held is untouched" in str(Interrupted(stopped.value))
    assert sorted((tmp_path / "out").rglob("*")) == before


def test_two_imports_into_one_folder_are_told_of_each_other(tmp_path: Path):
    (tmp_path / "f.csv").write_text(text_of(faces()))
    with locked(tmp_path / "out"), pytest.raises(DatasetError, match="another run is writing it"):
        import_fer2013(tmp_path / "f.csv", tmp_path / "out")


def test_an_import_is_not_merged_into_another(tmp_path: Path):
    (tmp_path / "f.csv").write_text(text_of(faces()))
    import_fer2013(tmp_path / "f.csv", tmp_path / "out")
    other = text_of([[str((int(e) + 1) % 7), p, u] for e, p, u in faces()])
    (tmp_path / "f.csv").write_text(other)
    result = CliRunner().invoke(app, ["data", "import", str(tmp_path / "f.csv"), "--out", str(tmp_path / "out")])
    assert isinstance(result.exception, DatasetError)
    assert result.exception.remedies == (Remedy.OVERWRITE,)
    import_fer2013(tmp_path / "f.csv", tmp_path / "out", overwrite=True)
    assert len(list((tmp_path / "out").rglob("*.png"))) == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[::-1], "row 1: Usage is 'Training'"),
        (lambda lines: [lines[3], *lines[1:3], lines[0], *lines[4:]], "picture fer0000001.png after number 3"),
    ],
)
def test_votes_in_another_order_are_refused(tmp_path: Path, change, message: str):
    header = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n"
    lines = [f"{usage},fer{i:07d}.png,8,1,1,0,0,0,0,0,0,0\n" for i, (_, _, usage) in enumerate(faces())]
    (tmp_path / "f.csv").write_text(text_of(faces()))
    (tmp_path / "v.csv").write_text(header + "".join(lines))
    assert import_fer2013(tmp_path / "f.csv", tmp_path / "whole", tmp_path / "v.csv").with_votes == 6
    (tmp_path / "v.csv").write_text(header + "".join(change(lines)))
    with pytest.raises(DatasetError, match=message):
        import_fer2013(tmp_path / "f.csv", tmp_path / "out", tmp_path / "v.csv")


def test_names_that_ferplus_gives_twice_are_no_other_order(tmp_path: Path):
    header = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n"
    numbers = (5264, 6953, 5265, 5266, 5267, 5268)  # as in the published file, row 5247
    lines = [f"{u},fer{n:07d}.png,8,1,1,0,0,0,0,0,0,0\n" for n, (_, _, u) in zip(numbers, faces(), strict=True)]
    (tmp_path / "f.csv").write_text(text_of(faces()))
    (tmp_path / "v.csv").write_text(header + "".join(lines))
    assert import_fer2013(tmp_path / "f.csv", tmp_path / "out", tmp_path / "v.csv").with_votes == 6


def test_a_cell_too_many_is_said(tmp_path: Path):
    picture(tmp_path / "a,b.png")
    (tmp_path / "t.csv").write_text("path,label\na,b.png,happy\n")
    with pytest.raises(DatasetError, match="line 2: expected 2 cells, found 3; put quotes"):
        open_dataset(tmp_path / "t.csv", "validation")
