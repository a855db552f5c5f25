"""A comparison as one HTML page that needs nothing else: style, chart and faces stand inside it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

import numpy as np
from markupsafe import Markup

from mien.measure.compare import Comparison
from mien.measure.evaluate import Evaluation
from mien.measure.metrics import Truth
from mien.report import charts
from mien.report.comparison_text import NO_FACE, class_rows, p_text, plain, remarks, signed, totals, verdict
from mien.report.evaluation_text import data_name, interval, percent
from mien.report.html import fill, to_page
from mien.report.thumbnails import face_url

KINDS_SHOWN, FACES_SHOWN = 30, 36

MINUS = "\N{MINUS SIGN}"


def to_html(comparison: Comparison) -> str:
    """The page; under 3 MB whatever the data. Pictures it shows are read from their files again."""
    a, b, found = comparison.a, comparison.b, comparison.difference
    name_a, name_b = model_names(comparison)
    body = fill(
        "comparison.html",
        a=name_a,
        b=name_b,
        sha256_a=a.model_sha256[:12],
        sha256_b=b.model_sha256[:12],
        data=data_name(a.data),
        split=a.split,
        samples=f"{found.samples:,}",
        classes=", ".join(comparison.classes),
        verdict=typeset(verdict(comparison)),
        key_figures=Markup(_key_figures(comparison)),
        remarks=Markup("".join(f"<li>{escape(typeset(line))}</li>" for line in remarks(comparison))),
        totals=Markup(_totals(comparison)),
        counts=Markup(_counts(comparison)),
        chart=Markup(
            charts.differences(
                [(c.name, c.support, c.recall) for c in found.classes],
                f"Recall, {name_b} minus {name_a}",
                (f"A better: {name_a}", f"B better: {name_b}"),
            )
        ),
        per_class=Markup(_per_class(comparison)),
        disagreeing=f"{sum(d.count for d in found.disagreements):,} of {found.samples:,}",
        disagreements=Markup(_disagreements(comparison)),
        only_a=f"{found.only_a:,}",
        only_b=f"{found.only_b:,}",
        faces_a=Markup("".join(_face(comparison, i) for i in one_sided(comparison, "A")) or "<p>None.</p>"),
        faces_b=Markup("".join(_face(comparison, i) for i in one_sided(comparison, "B")) or "<p>None.</p>"),
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


def _key_figures(comparison: Comparison) -> str:
    found = comparison.difference
    figures = [
        ("accuracy, B minus A", typeset(signed(found.accuracy.value)), f"points {typeset(interval(found.accuracy))}"),
        ("mean F1, B minus A", typeset(signed(found.macro_f1.value)), f"points {typeset(interval(found.macro_f1))}"),
        ("McNemar", p_text(found.p_value), "more than chance below 0.05"),
        ("same answer", percent(found.agreement), f"of the faces; Cohen's kappa {typeset(plain(found.kappa))}"),
    ]
    return "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(note)}</small></dd></div>"
        for name, value, note in figures
    )


def model_names(comparison: Comparison) -> tuple[str, str]:
    """How a page calls A and B: their names, with the beginning of their hashes where the names are the same."""
    a, b = comparison.a, comparison.b
    if a.title != b.title:
        return a.title, b.title
    return f"{a.title} {a.model_sha256[:6]}", f"{b.title} {b.model_sha256[:6]}"


def typeset(words: str) -> str:
    """`words` with minus signs for the hyphens before numbers and between A and B."""
    return re.sub(r"(?<![\w.])-(?=\d)", MINUS, words).replace("B - A", f"B {MINUS} A")


def _totals(comparison: Comparison) -> str:
    rows = [
        (name, [a, b, typeset(f"{gap}<small>{ends}</small>" if ends else gap)])
        for name, a, b, gap, ends in totals(comparison)
    ]
    return _table(["", "A", "B", f"B {MINUS} A"], rows)


def _counts(comparison: Comparison) -> str:
    found = comparison.difference
    rows = [
        ("A right", [f"{found.both_right:,}", f"{found.only_a:,}"]),
        ("A wrong", [f"{found.only_b:,}", f"{found.neither:,}"]),
    ]
    return _table(["", "B right", "B wrong"], rows)


def _per_class(comparison: Comparison) -> str:
    parts: list[str] = []
    for name, rows in class_rows(comparison):
        cells = [
            (label, [a, b, f"{typeset(signed(gap.value))}<small>{typeset(interval(gap))}</small>", f"{support:,}"])
            for label, a, b, gap, support in rows
        ]
        table = _table(["class", "A", "B", f"B {MINUS} A", "samples"], cells)
        parts.append(f'<div><h3>{name}</h3><div class="scroll">{table}</div></div>')
    return "".join(parts)


def _disagreements(comparison: Comparison) -> str:
    found = comparison.difference.disagreements
    rows = [
        (d.truth, [_said(d.a or NO_FACE, d.truth), _said(d.b or NO_FACE, d.truth), str(d.count)])
        for d in found[:KINDS_SHOWN]
    ]
    rest = f"<p>Rarer kinds: {len(found) - KINDS_SHOWN} more.</p>" if len(found) > KINDS_SHOWN else ""
    return (_table(["truth", "A said", "B said", "pictures"], rows) if rows else "<p>They never disagree.</p>") + rest


def _said(answer: str, truth: str) -> str:
    return f"<strong>{escape(answer)} ✓</strong>" if answer == truth else escape(answer)


def _table(heads: list[str], rows: Iterable[tuple[str, list[str]]]) -> str:
    """`heads` and the first of each row are text, the other cells HTML."""
    top = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for name, cells in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _face(comparison: Comparison, position: int) -> str:
    sample, row = comparison.samples[position], int(comparison.rows_a[position])
    face = comparison.a.faces[row] if comparison.a.faces and row >= 0 else None
    lines = "".join(
        _answer(name, evaluation, int(rows[position]), sample.label) for name, evaluation, rows in _sides(comparison)
    )
    return (
        f'<figure><img src="{face_url(sample.path, face)}" width="64" height="64" alt="face labeled '
        f'{escape(sample.label)}"><figcaption>is {escape(sample.label)}{lines}</figcaption></figure>'
    )


def _sides(comparison: Comparison) -> tuple[tuple[str, Evaluation, Truth], ...]:
    return ("A", comparison.a, comparison.rows_a), ("B", comparison.b, comparison.rows_b)


def _answer(name: str, evaluation: Evaluation, row: int, truth: str) -> str:
    if row < 0:
        return f"<small>{name} ✗ {NO_FACE}</small>"
    best = evaluation.probabilities[row]
    answer = evaluation.match.classes[int(best.argmax())]
    return f"<small>{name} {'✓' if answer == truth else '✗'} {escape(answer)} {best.max():.0%}</small>"
