"""What a notebook hands in, and what it shows."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

import mien
from mien.errors import MediaError, OutputError
from mien.records import Expression, Face, Failure, Reading, Readings


@pytest.fixture(scope="module")
def recognizer() -> mien.Recognizer:
    return mien.Recognizer(threads=1)


def test_pictures_in_every_form_are_read_alike(recognizer: mien.Recognizer, astronaut: Path):
    by_path = recognizer.read(astronaut)
    assert len(by_path) == 1
    with Image.open(astronaut) as image, astronaut.open("rb") as file:
        forms = [image, file, io.BytesIO(astronaut.read_bytes()), astronaut.read_bytes()]
        for form in forms:
            (reading,) = recognizer.read(form)
            assert reading.expression == by_path[0].expression
            assert reading.face == by_path[0].face


def test_a_file_opened_as_text_is_told(recognizer: mien.Recognizer):
    with pytest.raises(MediaError, match="opened in binary mode"):
        recognizer.read(io.StringIO("text"))  # pyright: ignore[reportArgumentType]


def reading(label: str = "a<b", source: str = "x.jpg") -> Reading:
    return Reading(source, 0, None, Face((0.0, 1.0, 20.0, 30.0), 0.9), Expression((label, "sad"), (0.7, 0.3)))


def test_readings_are_shown_as_a_table():
    shown = Readings([reading()])._repr_html_()
    assert "<td>a&lt;b</td><td>70.0%</td><td>0, 1, 20, 30</td>" in shown
    assert Readings()._repr_html_() == "<p>no face found</p>"


def test_a_reading_is_shown_with_a_bar_for_each_class():
    shown = replace(reading(), time_s=1.5, track=3)._repr_html_()
    assert "x.jpg, 1.50 s, track 3, box 0, 1, 20, 30" in shown
    assert shown.index("a&lt;b") < shown.index("sad")
    assert "width:70.0%" in shown
    assert "<td>30.0%</td>" in shown
    assert "most people" not in shown
    unsure = replace(reading(), expression=Expression(("a", "b", "c"), (0.4, 0.3, 0.3)))
    assert "most people would say something else" in unsure._repr_html_()


def test_readings_become_a_data_frame():
    pytest.importorskip("pandas")
    frame = mien.to_frame([reading(), reading(), reading(source="y.jpg"), Failure("z.jpg", 0, "broken")])
    assert frame["source"].tolist() == ["x.jpg", "x.jpg", "y.jpg", "z.jpg"]
    assert frame["face"].tolist()[:3] == [0, 1, 0]
    assert frame["p_a<b"].tolist()[:3] == [0.7, 0.7, 0.7]
    assert frame["error"].tolist()[3] == "broken"
    assert mien.to_frame([]).empty
    with pytest.raises(OutputError, match="readings of one model"):
        mien.to_frame([reading(), reading("other")])


def test_a_data_frame_needs_pandas(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(OutputError, match="pip install pandas"):
        mien.to_frame([reading()])
