"""Charts as files: SVG that stands alone, PDF, and what a designer would check."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFont

from mien.measure.scores import score
from mien.model.bundle import Bundle
from mien.report import charts
from mien.report.evaluation_text import data_name

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for label, level in (("happy", 220), ("sad", 30)):
        (tmp_path / "data" / label).mkdir(parents=True)
        for i in range(3):
            Image.new("L", (48, 48), level + i).save(tmp_path / "data" / label / f"{i}.png")
    return tmp_path / "data"


def test_charts_become_files_of_their_own(tiny_bundle: Bundle, data: Path, mien: Run, tmp_path: Path):
    pytest.importorskip("svglib")
    code, _, err = mien("evaluate", data, "--model", tiny_bundle.path, "--figures", tmp_path / "deep/figures")
    assert code == 0
    assert "10 figures in" in err
    names = {path.name for path in (tmp_path / "deep/figures").iterdir()}
    assert {"confusion.svg", "confusion.pdf", "classes.pdf", "reliability.svg"} <= names
    root = ET.fromstring((tmp_path / "deep/figures/confusion.svg").read_bytes())
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert float(root.get("width", 0)) > 100
    assert (tmp_path / "deep/figures/confusion.pdf").read_bytes().startswith(b"%PDF")
    code, _, err = mien("compare", tiny_bundle.path, "default", data, "--figures", tmp_path / "both")
    assert code == 0
    assert {"recall_difference.svg", "a_confusion.pdf", "b_confusion.pdf"} <= {
        p.name for p in (tmp_path / "both").iterdir()
    }


def test_without_svglib_the_svg_files_are_written(
    tiny_bundle: Bundle, data: Path, mien: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("mien.report.figures._to_pdf", lambda svg: None)
    code, _, err = mien("evaluate", data, "--model", tiny_bundle.path, "--figures", tmp_path / "figures")
    assert code == 0
    assert "pip install 'mien[figures]'" in err
    assert {p.suffix for p in (tmp_path / "figures").iterdir()} == {".svg"}


@given(st.floats(0, 1))
def test_every_shade_of_the_matrix_can_be_read(share: float):
    """Contrast of 4.5 : 1 at least (WCAG 2.1, 1.4.3)."""
    background, ink = charts.shade(share)
    lights = []
    for color in ([int(v) for v in background[4:-1].split(",")], [int(ink[i : i + 2], 16) for i in (1, 3, 5)]):
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (part / 255 for part in color)]
        lights.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    assert (max(lights) + 0.05) / (min(lights) + 0.05) >= 4.5


@given(st.integers(1, 10**7))
def test_an_axis_has_few_round_steps(span: int):
    step = charts.round_step(span)
    assert span / step <= 7
    assert str(step).rstrip("0") in ("1", "2", "5")


def test_f1_of_a_class_never_predicted_has_no_interval():
    scores = score(np.array([0, 0, 1]), np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]]), ["happy", "sad"], resamples=50)
    never = scores.classes[1].f1
    assert never.value == 0
    assert np.isnan([never.low, never.high]).all()
    assert not np.isnan(scores.classes[0].f1.low)


def test_a_data_set_called_dot_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "faces/inner").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "faces")
    assert data_name(".") == "faces"
    monkeypatch.chdir(tmp_path / "faces/inner")
    assert data_name("..") == "faces"
    assert data_name("../faces") == "../faces"


def test_compare_gives_both_sides_of_each_class(tiny_bundle: Bundle, data: Path, mien: Run, tmp_path: Path):
    code, out, _ = mien("compare", tiny_bundle.path, tiny_bundle.path, data, "--html", tmp_path / "c.html")
    assert code == 0
    for measure in ("precision", "recall", "F1"):
        head = next(line for line in out.splitlines() if line.startswith(f"{measure:9}"))
        assert head.split()[:5] == [measure, "A", "B", "B", "-"]
    page = (tmp_path / "c.html").read_text()
    assert "(A) and" in page
    assert "B \N{MINUS SIGN} A" in page


@pytest.mark.parametrize(
    "classes",
    [("happy", "sad"), ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"), ("surprise", "contempt")],
)
def test_the_slanted_heads_of_the_matrix_stay_inside(classes: tuple[str, ...]):
    matrix = [[1] * len(classes)] * len(classes)
    root = ET.fromstring(charts.confusion(classes, matrix, classes))
    heads = [node for node in root.iter() if "rotate(-45" in node.get("transform", "")]
    assert [node.text for node in heads] == list(classes)
    font = ImageFont.load_default(size=11)
    for node in heads:
        assert float(node.get("x", 0)) + font.getlength(node.text or "") * 0.5**0.5 <= charts.WIDTH


def test_no_letter_of_an_axis_is_cut():
    """A title that stands upright needs its ascenders' height left of its baseline, and must not reach the numbers."""
    truth, probabilities = np.array([0, 1] * 20), np.tile([[0.9, 0.1], [0.4, 0.6]], (20, 1))
    scores = score(truth, probabilities, ["happy", "sad"], resamples=20)
    for chart in (
        charts.reliability(truth, probabilities),
        charts.confidences(truth, probabilities),
        charts.precision_recall(truth, probabilities, scores.classes),
    ):
        nodes = [node for node in ET.fromstring(chart).iter() if node.tag.endswith("text")]
        upright = [node for node in nodes if "rotate(-90" in node.get("transform", "")]
        assert len(upright) == 1
        baseline, size = float(upright[0].get("x", 0)), float(upright[0].get("font-size", 0))
        assert baseline - 0.8 * size >= 0
        for node in nodes:
            if node.get("text-anchor") == "end" and node.text != "100%":  # that one stands above the title
                width = ImageFont.load_default(size=11).getlength(node.text or "")
                assert float(node.get("x", 0)) - width > baseline
