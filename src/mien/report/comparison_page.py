"""A comparison as one HTML page that needs nothing else: style, chart and faces stand inside it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from markupsafe import Markup

from mien.measure.compare import Comparison
from mien.measure.evaluate import Evaluation
from mien.measure.metrics import Truth
from mien.report import charts
from mien.report.comparison_text import NO_FACE, class_rows, p_text, remarks, signed, totals, verdict
from mien.report.evaluation_text import data_name, interval, percent, plain
from mien.report.html import KeyFigures, fill, to_page, typeset
from mien.report.thumbnails import face_url

KINDS_SHOWN, FACES_SHOWN = 30, 36


def to_html(comparison: Comparison) -> str:
    """The page; under 3 MB whatever the data. Pictures it shows are read from their files again."""
    a, b, found = comparison.a, comparison.b, comparison.difference
    name_a, name_b = model_names(comparison)
    body = fill(
        "comparison/page.html",
        a=name_a,
        b=name_b,
        sha256_a=a.model_sha256[:12],
        sha256_b=b.model_sha256[:12],
        data=data_name(a.data),
        split=a.split,
        samples=f"{found.samples:,}",
        classes=", ".join(comparison.classes),
        verdict=verdict(comparison),
        figures=_key_figures(comparison),
        remarks=remarks(comparison),
        totals=totals(comparison),
        found=found,
        chart=Markup(
            charts.differences(
                [(c.name, c.support, c.recall) for c in found.classes],
                f"Recall, {name_b} minus {name_a}",
                (f"A better: {name_a}", f"B better: {name_b}"),
            )
        ),
        per_class=class_rows(comparison),
        disagreeing=sum(d.count for d in found.disagreements),
        disagreements=found.disagreements[:KINDS_SHOWN],
        rarer=len(found.disagreements) - KINDS_SHOWN,
        no_face=NO_FACE,
        faces_a=[_face(comparison, i) for i in one_sided(comparison, "A")],
        faces_b=[_face(comparison, i) for i in one_sided(comparison, "B")],
    )
    return to_page(f"{name_a} (A) and {name_b} (B) on {data_name(a.data)}, {a.split}", body)


def one_sided(comparison: Comparison, right: str) -> list[int]:
    """Positions of faces that only `right` ("A" or "B") reads rightly, those first on which the other was surest."""
    a, b = comparison.answers()
    truth = np.array([comparison.classes.index(s.label) for s in comparison.samples], np.int64)
    hit, miss = (a, b) if right == "A" else (b, a)
    loser, rows = (comparison.b, comparison.rows_b) if right == "A" else (comparison.a, comparison.rows_a)
    chosen = np.flatnonzero((hit == truth) & (miss != truth) & (rows >= 0))
    confidence = loser.probabilities.max(axis=1)[rows[chosen]]
    return chosen[np.argsort(-confidence, kind="stable")][:FACES_SHOWN].tolist()


def _key_figures(comparison: Comparison) -> KeyFigures:
    found = comparison.difference
    return [
        ("accuracy, B minus A", typeset(signed(found.accuracy.value)), f"points {typeset(interval(found.accuracy))}"),
        ("mean F1, B minus A", typeset(signed(found.macro_f1.value)), f"points {typeset(interval(found.macro_f1))}"),
        ("McNemar", p_text(found.p_value), "more than chance below 0.05"),
        ("same answer", percent(found.agreement), f"of the faces; Cohen's kappa {typeset(plain(found.kappa))}"),
    ]


def model_names(comparison: Comparison) -> tuple[str, str]:
    """How a page calls A and B: their names, with the beginning of their hashes where the names are the same."""
    a, b = comparison.a, comparison.b
    if a.title != b.title:
        return a.title, b.title
    return f"{a.title} {a.model_sha256[:6]}", f"{b.title} {b.model_sha256[:6]}"


def _face(comparison: Comparison, position: int) -> Mapping[str, object]:
    sample, row = comparison.samples[position], int(comparison.rows_a[position])
    face = comparison.a.faces[row] if comparison.a.faces and row >= 0 else None
    return {
        "url": face_url(sample.path, face),
        "label": sample.label,
        "answers": [
            _answer(name, evaluation, int(rows[position]), sample.label)
            for name, evaluation, rows in _sides(comparison)
        ],
    }


def _sides(comparison: Comparison) -> tuple[tuple[str, Evaluation, Truth], ...]:
    return ("A", comparison.a, comparison.rows_a), ("B", comparison.b, comparison.rows_b)


def _answer(name: str, evaluation: Evaluation, row: int, truth: str) -> str:
    if row < 0:
        return f"{name} ✗ {NO_FACE}"
    best = evaluation.probabilities[row]
    answer = evaluation.match.classes[int(best.argmax())]
    return f"{name} {'✓' if answer == truth else '✗'} {answer} {best.max():.0%}"
