"""Other names for a data set's labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from mien.dataset import Sample, Split, read_label_map, relabeled
from mien.errors import DatasetError


def split() -> Split:
    samples = (Sample(Path("a.png"), "0", {"0": 3, "joyful": 2}), Sample(Path("b.png"), "joyful", {}))
    return Split(Path("data"), "test", ("0", "joyful"), samples)


def test_labels_and_votes_take_the_names_of_the_map():
    found = relabeled(split(), read_label_map(" 0 = Anger, JOYFUL=happy"))
    assert found.classes == ("angry", "happy")
    assert [s.label for s in found.samples] == ["angry", "happy"]
    assert found.samples[0].votes == {"angry": 3, "happy": 2}


@pytest.mark.parametrize(
    ("name", "text"),
    [("map.json", '{"0": "angry", "joyful": "happy"}'), ("map.csv", "\ufeffLabel,Class\n0,angry\njoyful,happy\n")],
)
def test_a_map_may_be_a_file(tmp_path: Path, name: str, text: str):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_label_map(str(tmp_path / name)) == {"0": "angry", "joyful": "happy"}


@pytest.mark.parametrize("text", ["", "happy", "a=,b=c", "a=b,a=c", "=b", "/nowhere/map.json"])
def test_what_is_no_map_is_refused(text: str):
    with pytest.raises(DatasetError, match="label map"):
        read_label_map(text)


def test_a_label_that_the_data_does_not_have_is_refused():
    with pytest.raises(DatasetError, match="no label joyfull in split 'test'; it has 0, joyful"):
        relabeled(split(), {"joyfull": "happy"})
