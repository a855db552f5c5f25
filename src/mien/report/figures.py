"""The charts of an evaluation or a comparison as files of their own, for papers and slides: SVG, and PDF."""

from __future__ import annotations

import io
from importlib import import_module
from pathlib import Path
from typing import Any

from mien.files import make_folder, write_bytes
from mien.measure.compare import Comparison
from mien.measure.evaluate import Evaluation
from mien.report import charts
from mien.report.svg import WIDTH

FONT = "Helvetica, Arial, sans-serif"


def evaluation_figures(evaluation: Evaluation) -> dict[str, str]:
    """Name -> SVG of every chart of an evaluation."""
    scores, truth, probabilities = evaluation.scores, evaluation.truth, evaluation.probabilities
    names = [c.name for c in scores.classes]
    matrix = [list(map(int, row)) for row in scores.confusion.tolist()]
    columns = list(names)
    if scores.missed.any():
        columns.append("no face")
        matrix = [[*row, int(lost)] for row, lost in zip(matrix, scores.missed.tolist(), strict=True)]
    return {
        "confusion": charts.confusion(names, matrix, columns),
        "classes": charts.bars(scores.classes),
        "reliability": charts.reliability(truth, probabilities),
        "confidences": charts.confidences(truth, probabilities),
        "precision_recall": charts.precision_recall(truth, probabilities, scores.classes),
    }


def comparison_figures(comparison: Comparison) -> dict[str, str]:
    """Name -> SVG of every chart of a comparison, and of the two evaluations in it."""
    rows = [(c.name, c.support, c.recall) for c in comparison.difference.classes]
    found = {"recall_difference": charts.differences(rows, "Recall, B minus A")}
    for side, evaluation in (("a", comparison.a), ("b", comparison.b)):
        found |= {f"{side}_{name}": chart for name, chart in evaluation_figures(evaluation).items()}
    return found


def write_figures(figures: dict[str, str], folder: Path) -> tuple[list[Path], str]:
    """Write each chart as `folder/NAME.svg` and, where svglib is installed, `folder/NAME.pdf`.

    Args:
        figures: name -> SVG, as for a page.
        folder: made if it is not there; files of these names are replaced.

    Returns:
        the files, and a sentence about PDF where it could not be written (else "").

    Raises:
        OutputError: a file cannot be written.
    """
    written: list[Path] = []
    note = ""
    make_folder(folder)
    for name, chart in figures.items():
        alone = standalone(chart)
        written.append(folder / f"{name}.svg")
        write_bytes(written[-1], alone.encode())
        pdf = _to_pdf(alone)
        if pdf is None:
            note = "PDF figures need svglib; run: pip install 'mien[figures]'"
            continue
        written.append(folder / f"{name}.pdf")
        write_bytes(written[-1], pdf)
    return written, note


def standalone(chart: str) -> str:
    """A chart of a page as an SVG file: with a name space, a size, a font and a white background."""
    height = chart.split('viewBox="', 1)[1].split('"', 1)[0].split()[3]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="{FONT}" '
    body = chart.replace("<svg ", head, 1).replace(' stroke-dasharray=""', "")  # which svglib cannot read
    opening, rest = body.split(">", 1)
    background = f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{opening}>{background}{rest}\n'


def _to_pdf(svg: str) -> bytes | None:
    """The drawing as one page of PDF; None without svglib."""
    try:
        svglib: Any = import_module("svglib.svglib")
        render: Any = import_module("reportlab.graphics.renderPDF")
    except ModuleNotFoundError:
        return None
    drawing = svglib.svg2rlg(io.BytesIO(svg.encode()))
    return bytes(render.drawToString(drawing))
