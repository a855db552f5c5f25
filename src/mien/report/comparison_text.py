"""A comparison as text and as JSON; docs/measure/evaluate.md describes the schema."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator

from mien._version import __version__
from mien.measure.compare import Comparison
from mien.measure.evaluate import Evaluation
from mien.measure.intervals import LEVEL, Estimate
from mien.measure.scores import ClassScores
from mien.measure.significance import SIGNIFICANCE, ClassDifference
from mien.report.evaluation_text import data_name, interval, percent, plain

SCHEMA_VERSION = 1
"""Fields may be added within a version; any other change raises it."""

COMMONEST = 12
"""At most this many kinds of disagreement are listed."""

NO_FACE = "no face"


def to_text(comparison: Comparison) -> str:
    """Everything but pictures; lines end with a newline."""
    parts: list[Iterable[str]] = [
        _heading(comparison), [""], [verdict(comparison)], [""], _totals(comparison), [""], _counts(comparison), [""],
        _classes(comparison), [""], _disagreements(comparison), [""], remarks(comparison),
    ]  # fmt: skip
    return "\n".join(line for part in parts for line in part).rstrip("\n") + "\n"


def verdict(comparison: Comparison) -> str:
    """One sentence: which is right more often, by how much, and whether that is more than chance."""
    found = comparison.difference
    if comparison.same_model:
        return "A and B are the same model: every answer is the same, and nothing differs."
    gap = f"{signed(found.accuracy.value)} points {interval(found.accuracy)}"
    test = f"McNemar's exact test, {p_text(found.p_value)}, "
    if found.better:
        other = "B" if found.better == "A" else "A"
        return (
            f"{found.better} is right more often than {other}: B - A is {gap}, and the difference is more than chance "
            f"({test}below {SIGNIFICANCE})."
        )
    if found.only_a == found.only_b:
        return f"A and B are right equally often: B - A is {gap} ({test}not below {SIGNIFICANCE})."
    ahead, behind = ("A", "B") if found.only_a > found.only_b else ("B", "A")
    return (
        f"{ahead} is right more often than {behind} on these pictures: B - A is {gap}, but no more than chance would "
        f"give ({test}not below {SIGNIFICANCE})."
    )


def remarks(comparison: Comparison) -> list[str]:
    """What a reader must know about how the numbers came about, one sentence each."""
    found, classes = comparison.difference, ", ".join(comparison.classes)
    lines = [f"Decided by McNemar's exact test at {SIGNIFICANCE}; intervals are those of a paired bootstrap."]
    low, high = found.accuracy.low, found.accuracy.high
    if (low > 0 or high < 0) != bool(found.better):
        holds = "leaves 0 out" if low > 0 or high < 0 else "holds 0"
        lines.append(
            f"Test and interval disagree here, as they may near the limit: the interval {holds}. The test counts."
        )
    for name, evaluation in (("A", comparison.a), ("B", comparison.b)):
        if evaluation.match.model_only:
            lines.append(
                f"{name} also knows {', '.join(evaluation.match.model_only)}: its probabilities were restricted to "
                f"{classes} and renormalized."
            )
    if comparison.left_out:
        lines.append(
            f"Samples of {', '.join(comparison.left_out)} were left out: not both models know "
            f"{'it' if len(comparison.left_out) == 1 else 'them'}."
        )
    if comparison.missed:
        lines.append(
            f"No face was found in {len(comparison.missed)} of {found.samples} pictures; each counts as an error of "
            "both, and is in none of agreement, calibration error and log loss."
        )
    for name, evaluation in (("A", comparison.a), ("B", comparison.b)):
        lines += [f"{name}: {note}." for note in evaluation.scores.notes]
    if comparison.failures:
        count = len(comparison.failures)
        lines.append(
            f"{count} picture{' could' if count == 1 else 's could'} not be read and "
            f"{'is' if count == 1 else 'are'} in no number."
        )
    return lines


def totals(comparison: Comparison) -> list[tuple[str, str, str, str, str]]:
    """(name, A, B, B - A, its interval) of every number about a whole model."""
    a, b, found = comparison.a.scores, comparison.b.scores, comparison.difference
    gap = b.calibration_error - a.calibration_error
    return [
        ("accuracy", percent(a.accuracy.value), percent(b.accuracy.value), *_gap(found.accuracy)),
        ("mean F1", percent(a.macro_f1.value), percent(b.macro_f1.value), *_gap(found.macro_f1)),
        ("calibration error", percent(a.calibration_error), percent(b.calibration_error), signed(gap), ""),
        ("log loss", plain(a.log_loss), plain(b.log_loss), plain(b.log_loss - a.log_loss, sign=True), ""),
    ]  # fmt: skip


def signed(value: float) -> str:
    """A difference of shares in points: `+1.84`, or `undefined`."""
    # Rounded first, and 0 added, so that a tiny negative number is not shown as -0.00.
    return "undefined" if math.isnan(value) else f"{round(100 * value, 2) + 0.0:+.2f}"


def p_text(p: float) -> str:
    """`p = 0.0042`, or `p < 0.0001`."""
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.2g}" if p >= 0.1 else f"p = {p:.4f}"


def to_json(comparison: Comparison) -> str:
    """JSON of schema `SCHEMA_VERSION`: no NaN (undefined is null)."""
    return json.dumps(as_document(comparison), indent=2, allow_nan=False) + "\n"


def as_document(comparison: Comparison) -> dict[str, object]:
    """What `to_json` writes, as plain dicts, lists, strings and numbers."""
    found = comparison.difference
    return {
        "schema": "mien.comparison",
        "schema_version": SCHEMA_VERSION,
        "mien": __version__,
        "data": {"path": comparison.a.data, "split": comparison.a.split},
        "options": {"detector": comparison.a.detector or None},
        "classes": list(comparison.classes),
        "classes_left_out": list(comparison.left_out),
        "interval_level": LEVEL,
        "a": _model(comparison.a),
        "b": _model(comparison.b),
        "same_model": comparison.same_model,
        "samples_compared": found.samples,
        "verdict": {"better": found.better.lower() or None, "sentence": verdict(comparison)},
        "mcnemar": {
            "p_value": found.p_value,
            "significance": SIGNIFICANCE,
            "both_right": found.both_right,
            "only_a": found.only_a,
            "only_b": found.only_b,
            "neither": found.neither,
        },
        "difference": {
            "accuracy": _estimate(found.accuracy),
            "macro_f1": _estimate(found.macro_f1),
            "per_class": {
                c.name: {
                    "support": c.support,
                    "precision": _estimate(c.precision),
                    "recall": _estimate(c.recall),
                    "f1": _estimate(c.f1),
                }
                for c in found.classes
            },
        },
        "agreement": {"share": _number(found.agreement), "cohen_kappa": _number(found.kappa)},
        "disagreements": [
            {"truth": d.truth, "a": d.a or None, "b": d.b or None, "count": d.count} for d in found.disagreements
        ],
        "remarks": remarks(comparison),
        "failures": list(comparison.failures),
        "samples": _samples(comparison),
    }


def _model(evaluation: Evaluation) -> dict[str, object]:
    scores = evaluation.scores
    return {
        "name": evaluation.model,
        "sha256": evaluation.model_sha256,
        "answer": evaluation.answer,
        "prior": evaluation.prior,
        "classes_not_compared": list(evaluation.match.model_only),
        "accuracy": _estimate(scores.accuracy),
        "macro_f1": _estimate(scores.macro_f1),
        "log_loss": _number(scores.log_loss),
        "calibration_error": _number(scores.calibration_error),
        "per_class": {
            c.name: {
                "precision": _number(c.precision.value),
                "recall": _number(c.recall.value),
                "f1": _number(c.f1.value),
            }
            for c in scores.classes
        },
    }


def _samples(comparison: Comparison) -> list[dict[str, object]]:
    names = [*comparison.classes, None]
    rows = zip(comparison.samples, *(said.tolist() for said in comparison.answers()), strict=True)
    root = comparison.a.data
    return [
        {
            "path": (s.path.relative_to(root) if s.path.is_relative_to(root) else s.path).as_posix(),
            "label": s.label,
            "a": names[a],
            "b": names[b],
        }
        for s, a, b in rows
    ]


def _estimate(estimate: Estimate) -> dict[str, float | None]:
    return {"value": _number(estimate.value), "low": _number(estimate.low), "high": _number(estimate.high)}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _gap(estimate: Estimate) -> tuple[str, str]:
    return signed(estimate.value), interval(estimate)


def _heading(comparison: Comparison) -> Iterator[str]:
    a, b = comparison.a, comparison.b
    width = max(len(a.title), len(b.title))
    yield f"A  {a.title:{width}}  sha256 {a.model_sha256[:12]}"
    yield f"B  {b.title:{width}}  sha256 {b.model_sha256[:12]}"
    samples, classes = comparison.difference.samples, ", ".join(comparison.classes)
    yield f"on {samples} pictures of {data_name(a.data)}, split {a.split}: {classes}"


def _totals(comparison: Comparison) -> Iterator[str]:
    yield f"{'':17}  {'A':>9}  {'B':>9}  {'B - A':>9} 95 %"
    for name, a, b, gap, ends in totals(comparison):
        yield f"{name:17}  {a:>9}  {b:>9}  {gap:>9} {ends}".rstrip()


def _counts(comparison: Comparison) -> Iterator[str]:
    found = comparison.difference
    yield (
        f"right: both {found.both_right}, only A {found.only_a}, only B {found.only_b}, neither {found.neither}  "
        f"(McNemar {p_text(found.p_value)})"
    )
    yield f"same answer for {percent(found.agreement)} of the faces, Cohen's kappa {plain(found.kappa)}"


def _classes(comparison: Comparison) -> Iterator[str]:
    """Precision, recall and F1 of each class, of A and of B, with the difference."""
    width = max(9, *(len(c) for c in comparison.classes))
    for number, (name, rows) in enumerate(class_rows(comparison)):
        if number:
            yield ""
        yield f"{name:{width}}  {'A':>9}  {'B':>9}  {'B - A':>9} {'95 %':<14}  support"
        for label, a, b, gap, support in rows:
            yield f"{label:{width}}  {a:>9}  {b:>9}  {signed(gap.value):>9} {interval(gap):<14}  {support:7}"


def class_rows(comparison: Comparison) -> list[tuple[str, list[tuple[str, str, str, Estimate, int]]]]:
    """For precision, recall and F1: (class, A, B, B - A, samples) of every class."""
    of_a, of_b = ({c.name: c for c in e.scores.classes} for e in (comparison.a, comparison.b))
    measures: list[tuple[str, Callable[[ClassScores | ClassDifference], Estimate]]] = [
        ("precision", lambda c: c.precision), ("recall", lambda c: c.recall), ("F1", lambda c: c.f1),
    ]  # fmt: skip
    return [
        (
            name,
            [
                (c.name, percent(of(of_a[c.name]).value), percent(of(of_b[c.name]).value), of(c), c.support)
                for c in comparison.difference.classes
            ],
        )
        for name, of in measures
    ]


def _disagreements(comparison: Comparison) -> Iterator[str]:
    found = comparison.difference.disagreements
    if not found:
        yield "they never disagree"
        return
    width = max(len(NO_FACE), *(len(c) for c in comparison.classes))
    count = sum(d.count for d in found)
    yield f"where they disagree, {count} of {comparison.difference.samples} pictures, the commonest first"
    yield f"{'truth':{width}}  {'A said':{width}}  {'B said':{width}}  count"
    for d in found[:COMMONEST]:
        yield f"{d.truth:{width}}  {d.a or NO_FACE:{width}}  {d.b or NO_FACE:{width}}  {d.count:5}"
    if len(found) > COMMONEST:
        yield f"rarer kinds: {len(found) - COMMONEST} more"
