"""Labeled folders and `fer2013.csv`: by name, never by position; what is odd is named."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.dataset import import_fer2013, read_split
from mien.dataset.labels import SYNONYMS, canonical
from mien.errors import DatasetError

VOTES_HEADER = [
    "Usage", "Image name", "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt",
    "unknown", "NF",
]  # fmt: skip


def picture(path: Path, level: int = 100) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((48, 48), level, np.uint8)).save(path)


def write_csv(path: Path, rows: list[list[object]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def pixels(level: int) -> str:
    return " ".join([str(level)] * 48 * 48)


@pytest.fixture
def fer(tmp_path: Path) -> tuple[Path, Path]:
    """Four rows in FER2013's own class order (3 = happy, 4 = sad, 6 = neutral), with FER+'s votes."""
    faces = write_csv(
        tmp_path / "fer2013.csv",
        [["emotion", "pixels", "Usage"], [3, pixels(10), "Training"], [4, pixels(20), "Training"],
         [6, pixels(30), "PublicTest"], [0, pixels(40), "PrivateTest"]],
    )  # fmt: skip
    votes = write_csv(
        tmp_path / "fer2013new.csv",
        [VOTES_HEADER, ["Training", "fer0000000.png", 1, 9, *[0] * 8],
         ["Training", "fer0000001.png", 2, 0, 0, 8, *[0] * 6],
         ["PublicTest", "", *[0] * 9, 10], ["PrivateTest", "fer0000003.png", 0, 0, 0, 0, 10, *[0] * 5]],
    )  # fmt: skip
    return faces, votes


def test_classes_come_by_name_from_fer2013s_own_order(fer: tuple[Path, Path], tmp_path: Path):
    report = import_fer2013(fer[0], tmp_path / "out", fer[1])
    assert report.written == {
        ("train", "happy"): 1,
        ("train", "sad"): 1,
        ("validation", "neutral"): 1,
        ("test", "angry"): 1,
    }
    train = read_split(tmp_path / "out", "train")
    assert train.classes == ("happy", "sad")
    assert [(s.label, s.votes["happy"], s.votes["sad"]) for s in train.samples] == [("happy", 9, 0), ("sad", 0, 8)]
    assert np.asarray(Image.open(train.samples[1].path)).tolist() == [[20] * 48] * 48


def test_the_majority_of_the_votes_may_decide(tmp_path: Path):
    cast = {  # neutral, happy, surprise, sad, angry, disgust, fear, contempt, unknown, no face
        "happy": [1, 9, *[0] * 8],
        "contempt": [1, 1, 0, 0, 0, 0, 0, 6, 0, 2],
        "neutral": [4, 1, 1, 1, 1, 1, 1, 0, 0, 0],  # those whom one annotator chose do not count
        "half": [5, 5, *[0] * 8],
        "nobody knows": [1, *[0] * 7, 9, 0],
        "no face": [*[0] * 9, 10],
        "nothing": [0] * 10,
    }
    faces = write_csv(
        tmp_path / "f.csv", [["emotion", "pixels", "Usage"], *[[0, pixels(i), "Training"] for i in range(len(cast))]]
    )
    rows = [["Training", f"fer{i}.png", *votes] for i, votes in enumerate(cast.values())]
    votes = write_csv(tmp_path / "v.csv", [VOTES_HEADER, *rows])
    report = import_fer2013(faces, tmp_path / "out", votes, by_votes=True)
    assert {label for _, label in report.written} == {"happy", "contempt", "neutral"}
    assert (report.undecided, report.with_votes) == (4, 3)
    train = read_split(tmp_path / "out", "train")
    assert {s.label: s.votes["contempt"] for s in train.samples} == {"contempt": 6, "happy": 0, "neutral": 0}
    with pytest.raises(DatasetError, match="classes by votes need"):
        import_fer2013(faces, tmp_path / "out", by_votes=True)


def test_without_votes_there_are_none(fer: tuple[Path, Path], tmp_path: Path):
    import_fer2013(fer[0], tmp_path / "out")
    assert not (tmp_path / "out/votes.csv").exists()
    assert all(not s.votes for s in read_split(tmp_path / "out", "train").samples)


def test_two_rows_of_one_name_are_two_pictures(fer: tuple[Path, Path], tmp_path: Path):
    votes = write_csv(tmp_path / "twice.csv", [VOTES_HEADER, *[["Training", "fer1.png", *[1] * 10]] * 4])
    faces = write_csv(
        tmp_path / "f.csv", [["emotion", "pixels", "Usage"], *[[3, pixels(i), "Training"] for i in range(4)]]
    )
    import_fer2013(faces, tmp_path / "out", votes)
    assert len(read_split(tmp_path / "out", "train")) == 4


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([7, pixels(1), "Training"], "expected 0..6, found '7'"),
        ([1, "1 2 3", "Training"], "expected 2304 values"),
        ([1, pixels(256), "Training"], "expected 2304 values of 0..255"),
        ([1, pixels(1), "Sunday"], "found 'Sunday'"),
        ([1, "a b", "Training"], "expected whole numbers, found 'a b'"),
    ],
)
def test_a_bad_row_is_left_out_and_named(row: list[object], message: str, tmp_path: Path):
    faces = write_csv(tmp_path / "f.csv", [["emotion", "pixels", "Usage"], [3, pixels(1), "Training"], row])
    report = import_fer2013(faces, tmp_path / "out")
    assert report.written.total() == 1
    assert "row 2" in report.failed[0]
    assert message in report.failed[0]


def test_files_that_do_not_belong_together_are_refused(fer: tuple[Path, Path], tmp_path: Path):
    votes = write_csv(tmp_path / "short.csv", [VOTES_HEADER, ["Training", "a.png", *[1] * 10]])
    with pytest.raises(DatasetError, match="differ in their number of rows"):
        import_fer2013(fer[0], tmp_path / "out", votes)


@pytest.mark.parametrize("content", [[["x", "y"]], [["emotion", "pixels"]], []])
def test_missing_columns_are_named(content: list[list[object]], tmp_path: Path):
    with pytest.raises(DatasetError, match=r"no column .*Usage"):
        import_fer2013(write_csv(tmp_path / "f.csv", content), tmp_path / "out")


def test_a_csv_without_a_usable_row_is_refused(tmp_path: Path):
    with pytest.raises(DatasetError, match="no usable row"):
        import_fer2013(write_csv(tmp_path / "f.csv", [["emotion", "pixels", "Usage"]]), tmp_path / "out")


def test_one_level_of_folders_is_every_split(tmp_path: Path):
    picture(tmp_path / "Happiness/a.png")
    picture(tmp_path / "sad/b.JPG")
    split = read_split(tmp_path, "validation")
    assert split.classes == ("happy", "sad")
    assert len(split) == 2


def test_other_names_of_splits_are_known(tmp_path: Path):
    picture(tmp_path / "val/happy/a.png")
    assert len(read_split(tmp_path, "validation")) == 1
    with pytest.raises(DatasetError, match=r"no split 'train' here, only validation"):
        read_split(tmp_path, "train")


@pytest.mark.parametrize("names", [("Happy", "happy"), ("happiness", "happy"), ("sad", "Sadness")])
def test_two_folders_for_one_class_are_refused(names: tuple[str, str], tmp_path: Path):
    for name in names:
        picture(tmp_path / name / "a.png")
    with pytest.raises(DatasetError, match="both mean"):
        read_split(tmp_path, "validation")


def test_an_empty_class_folder_is_named(tmp_path: Path):
    picture(tmp_path / "happy/a.png")
    (tmp_path / "sad").mkdir()
    with pytest.raises(DatasetError, match=r"sad: no pictures in this class folder"):
        read_split(tmp_path, "train")


def test_what_is_not_a_folder_is_refused(tmp_path: Path):
    with pytest.raises(DatasetError, match="found nothing"):
        read_split(tmp_path / "none", "train")
    with pytest.raises(DatasetError, match="expected one folder per class"):
        read_split(tmp_path, "train")
    with pytest.raises(DatasetError, match=r"unknown split 'tset': .* did you mean 'test'"):
        read_split(tmp_path, "tset")


def test_broken_votes_are_named_with_their_line(tmp_path: Path):
    picture(tmp_path / "train/happy/a.png")
    write_csv(tmp_path / "votes.csv", [["path", "happy"], ["train/happy/a.png", "many"]])
    with pytest.raises(DatasetError, match=r"votes\.csv, line 2"):
        read_split(tmp_path, "train")


def test_every_synonym_is_stable():
    for name, meaning in SYNONYMS.items():
        assert canonical(name.upper()) == canonical(meaning) == meaning


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        (["path", "happy"], [["train/happy/a.png", "-3"]], "line 2: expected a number of votes from 0 to 1,000"),
        (["path", "happy"], [["train/happy/a.png", "1000000000000"]], "line 2: expected a number of votes"),
        (["path", "happy"], [["train/happy/a.png", "1001"]], "found 1,001"),
        (["path", "happy"], [["train/happy/a.png", "1.5"]], "line 2: expected a number of votes"),
        (["path", "happy"], [["train/happy/a.png", 1], ["train/happy/a.png", 2]], "line 3: .* stands there twice"),
        (["path", "happy", "Happiness"], [["train/happy/a.png", 1, 2]], "'happy' and 'Happiness' both mean 'happy'"),
        (["path", "happy"], [["images/a.png", 5]], r"names no picture that is here \(its first is 'images/a.png'\)"),
    ],
)
def test_votes_that_make_no_sense_are_refused(
    tmp_path: Path, header: list[str], rows: list[list[object]], message: str
):
    picture(tmp_path / "train/happy/a.png")
    write_csv(tmp_path / "votes.csv", [header, *rows])
    with pytest.raises(DatasetError, match=message):
        read_split(tmp_path, "train")


@pytest.mark.parametrize("name", ["train\\happy\\a.png", "./train/happy/a.png"])
def test_votes_are_joined_however_their_paths_are_spelled(tmp_path: Path, name: str):
    picture(tmp_path / "train/happy/a.png")
    write_csv(tmp_path / "votes.csv", [["path", "happy"], [name, 7]])
    assert read_split(tmp_path, "train").samples[0].votes == {"happy": 7}
