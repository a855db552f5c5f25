"""Charts as SVG text: no script, nothing to load.

Every chart has a view box 360 wide, so that text keeps its size from a phone's width up. Colors are Okabe and Ito's
(https://jfly.uni-koeln.de/color/), and no difference is told by color alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from mien.measure import metrics, ranking
from mien.measure.intervals import Estimate
from mien.measure.scores import ClassScores
from mien.output.draw import ink_on
from mien.report.svg import BLUE, GRID, INK, VERMILION, WIDTH, rect, svg, text

LINES = (
    (BLUE, ""), (VERMILION, "7 3"), ("#007A5A", "2 2"), ("#A14F7F", "9 3 2 3"), ("#8A6100", "12 4"), ("#3B7EA1", "4 4"),
    ("#1a1a1a", "1 3"),
)  # fmt: skip
"""Color and dash pattern of each class's curve; darker shades of the palette where the original is faint on white."""

MAX_POINTS = 150
"""About so many points are drawn of a curve: more would not be seen."""

BINS = 20

FEW = 10
"""With fewer samples no curve is drawn: it would be a knot of steps that says nothing."""

_LEFT, _TOP, _SIDE, _PLOT_HEIGHT = 44, 10, 300, 230


def bars(classes: Sequence[ClassScores]) -> str:
    """Precision, recall and F1 of each class as bars with their intervals."""
    rows: list[str] = []
    y = 16
    for c in classes:
        rows.append(text(0, y, c.name, weight="600"))
        rows.append(text(WIDTH, y, f"{c.support} samples", anchor="end", size=11))
        for name, estimate, fill in (
            ("precision", c.precision, BLUE),
            ("recall", c.recall, "#56B4E9"),
            ("F1", c.f1, "#9a9a9a"),
        ):
            y += 16
            rows += _bar(y, name, estimate, fill)
        y += 26
    return svg(y - 8, "Precision, recall and F1 of each class", rows)


def reliability(truth: metrics.Truth, probabilities: metrics.Probabilities) -> str:
    """Accuracy against confidence, in bins of equally many samples; the diagonal is a model that knows itself."""
    confidence, accuracy, _ = metrics.reliability_curve(truth, probabilities, reliability_bins(len(truth)))
    parts = list(_axes("confidence", "share that is right"))
    parts.append(_path([(0.0, 0.0), (1.0, 1.0)], "#777", "5 4", 1.2))
    parts.append(_path(list(zip(confidence.tolist(), accuracy.tolist(), strict=True)), BLUE, "", 2))
    for x, y in zip(confidence.tolist(), accuracy.tolist(), strict=True):
        parts.append(f'<circle cx="{_x(x):.1f}" cy="{_y(y):.1f}" r="4" fill="{BLUE}" stroke="#fff"/>')
    return svg(_TOP + _PLOT_HEIGHT + 40, "Reliability diagram", parts)


def reliability_bins(samples: int) -> int:
    """15, or fewer where that would leave less than ten samples in each."""
    return min(max(samples // FEW, 1), 15)


def precision_recall(truth: metrics.Truth, probabilities: metrics.Probabilities, classes: Sequence[ClassScores]) -> str:
    """One precision-recall curve a class, each against the rest, with its average precision in the legend."""
    parts = list(_axes("recall", "precision"))
    y = _TOP + _PLOT_HEIGHT + 56
    for k, c in enumerate(classes):
        color, dash = LINES[k % len(LINES)]
        x = _LEFT + (k % 2) * 155
        if c.support < FEW:
            parts.append(text(x, y, f"{c.name}: {c.support} samples, too few", size=12))
            y += 18 * (k % 2)
            continue
        precision, recall = ranking.precision_recall_curve(truth == k, probabilities[:, k])
        points = list(zip(recall.tolist(), precision.tolist(), strict=True))
        stride = max(len(points) // MAX_POINTS, 1)
        parts.append(_path(points[::stride] + points[-1:], color, dash, 2))
        parts.append(f'<path d="M{x} {y - 4}h26" stroke="{color}" stroke-width="2.5" stroke-dasharray="{dash}"/>')
        parts.append(text(x + 32, y, f"{c.name} {_two(c.average_precision)}", size=12))
        y += 18 * (k % 2)
    return svg(y + 14, "Precision-recall curves", parts)


def confidences(truth: metrics.Truth, probabilities: metrics.Probabilities) -> str:
    """How many samples at each confidence, the right ones upward, the wrong ones downward."""
    confidence = probabilities.max(axis=1) if len(truth) else np.empty(0)
    right = probabilities.argmax(axis=1) == truth
    edges = np.linspace(0, 1, BINS + 1)
    up, down = (np.histogram(confidence[chosen], edges)[0].tolist() for chosen in (right, ~right))
    top = _TOP + 46  # the legend stands above the bars
    unit = _PLOT_HEIGHT / max(max(up) + max(down), 1)
    base, wide = top + unit * max(up), _SIDE / BINS
    step = round_step(max(max(up) + max(down), 1))
    parts: list[str] = []
    for count in range(-(max(down) // step) * step, max(up) + 1, step):
        y = base - count * unit
        parts.append(f'<path d="M{_LEFT} {y:.1f}h{_SIDE}" stroke="{GRID}"/>')
        parts.append(text(_LEFT - 6, y + 4, f"{abs(count):,}", anchor="end", size=11))
    for i in range(BINS):
        x = _LEFT + i * wide + 1
        parts.append(rect(x, base - up[i] * unit, wide - 2, up[i] * unit, BLUE))
        parts.append(rect(x, base, wide - 2, down[i] * unit, VERMILION))
    parts.append(f'<path d="M{_LEFT} {base:.1f}h{_SIDE}" stroke="{INK}"/>')
    parts += [
        text(_x(share), top + _PLOT_HEIGHT + 18, f"{share:.0%}", anchor="middle", size=11)
        for share in (0, 0.25, 0.5, 0.75, 1)
    ]
    parts.append(text(_LEFT + _SIDE / 2, top + _PLOT_HEIGHT + 36, "confidence", anchor="middle", size=11))
    parts.append(text(10, top + _PLOT_HEIGHT / 2, "samples", anchor="middle", size=11, rotate=-90))
    parts.append(text(_LEFT, _TOP + 10, f"right: {sum(up):,} (upward)", fill=BLUE, weight="600"))
    parts.append(text(_LEFT, _TOP + 28, f"wrong: {sum(down):,} (downward)", fill="#A84A00", weight="600"))
    return svg(top + _PLOT_HEIGHT + 42, "Confidence of right and wrong answers", parts)


def round_step(span: int) -> int:
    """A step of 1, 2 or 5 times a power of ten, of which 3 to 7 fit into `span`."""
    for power in range(12):
        for unit in (1, 2, 5):
            if span / (unit * 10**power) <= 7:
                return unit * 10**power
    return span


def confusion(classes: Sequence[str], matrix: Sequence[Sequence[int]], columns: Sequence[str]) -> str:
    """A confusion matrix as a figure: row = true class, column = what was predicted, color = share of the row."""
    left, top = 78, 78
    side = _cell(columns, WIDTH - left - 2)
    parts = [
        text(left + side * len(columns) / 2, 14, "predicted", anchor="middle", weight="600"),
        text(12, top + side * len(classes) / 2, "true", anchor="middle", weight="600", rotate=-90),
    ]
    for j, name in enumerate(columns):
        parts.append(text(left + side * (j + 0.5) + 4, top - 6, name, size=11, rotate=-45))
    for i, (name, counts) in enumerate(zip(classes, matrix, strict=True)):
        y, total = top + side * i, sum(counts)
        parts.append(text(left - 6, y + side / 2 + 4, name, anchor="end", size=11))
        for j, count in enumerate(counts):
            share = count / total if total else 0.0
            background, ink = shade(share)
            x = left + side * j
            parts.append(rect(x, y, side - 1, side - 1, background))
            size = 12 if side >= 48 else 10
            parts.append(text(x + side / 2, y + side / 2 + 1, str(count), anchor="middle", size=size, fill=ink))
            parts.append(
                text(x + side / 2, y + side / 2 + 13, f"{share:.0%}", anchor="middle", size=size - 2, fill=ink)
            )
    return svg(top + side * len(classes) + 6, "Confusion matrix", parts)


def _cell(columns: Sequence[str], width: float) -> float:
    """Side of a cell: the cells fill the width, but the slanted heads of the last columns need room on their right."""
    full = width / len(columns)
    slant = 4.7  # what a letter of size 11 takes to the right
    fitting = min((width - 4 - slant * len(name)) / (number + 0.5) for number, name in enumerate(columns))
    return max(min(full, fitting), 0.6 * full)


def shade(share: float) -> tuple[str, str]:
    """Background and ink of a share 0..1: white to blue, and on it black or white, whichever is easier to read."""
    # By the square root, so that rare confusions still show.
    mix = math.sqrt(share)
    red, green, blue = (round(255 + (end - 255) * mix) for end in (0, 90, 160))
    return f"rgb({red},{green},{blue})", "#{:02x}{:02x}{:02x}".format(*ink_on((red, green, blue)))


def counts(rows: Sequence[tuple[str, int]], name: str) -> str:
    """(class, pictures) as bars, the longest as wide as the chart, with the share of all."""
    parts: list[str] = []
    left, length = 80, WIDTH - 80 - 96
    total, largest = max(sum(n for _, n in rows), 1), max([1, *(n for _, n in rows)])
    y = 14.0
    for label, n in rows:
        parts.append(text(left - 6, y, label, anchor="end", size=12))
        parts.append(rect(left, y - 11, length * n / largest, 14, BLUE))
        parts.append(text(WIDTH, y, f"{n} ({n / total:.1%})", anchor="end", size=12))
        y += 22
    return svg(y, name, parts)


def differences(
    rows: Sequence[tuple[str, int, Estimate]], name: str, sides: tuple[str, str] = ("A better", "B better")
) -> str:
    """(class, samples, difference -1..1) as points with their intervals, left and right of a line at 0."""
    known = [abs(v) for _, _, e in rows for v in e if not math.isnan(v)]
    reach = max([0.01, *known])
    middle, scale = WIDTH / 2, (WIDTH / 2 - 40) / reach
    parts = [text(0, 12, sides[0], size=11), text(WIDTH, 12, sides[1], anchor="end", size=11)]
    y = 32.0
    for label, samples, estimate in rows:
        parts.append(text(0, y, label, weight="600"))
        parts.append(text(WIDTH, y, f"{samples} samples", anchor="end", size=11))
        y += 18
        parts += _point(y, middle, scale, estimate)
        y += 26
    parts.append(f'<path d="M{middle} 20V{y - 26:.0f}" stroke="{INK}" stroke-dasharray="3 3"/>')
    return svg(y - 14, name, parts)


def _point(y: float, middle: float, scale: float, estimate: Estimate) -> Iterator[str]:
    yield rect(0, y - 7, WIDTH, 14, "#f4f4f4")
    if any(map(math.isnan, estimate)):
        yield text(4, y + 4, "undefined", size=11)
        return
    x, low, high = (middle + scale * v for v in estimate)
    color = BLUE if estimate.low > 0 else VERMILION if estimate.high < 0 else "#6a6a6a"
    yield f'<path d="M{low:.1f} {y}H{high:.1f}" stroke="{color}" stroke-width="3"/>'
    yield f'<circle cx="{x:.1f}" cy="{y}" r="4.5" fill="{color}" stroke="#fff"/>'
    end = estimate.value > 0
    shown = f"{100 * estimate.value:+.1f}".replace("-", "\N{MINUS SIGN}")
    yield text(4 if end else WIDTH - 4, y + 4, shown, anchor="start" if end else "end", size=12)


def _bar(y: float, name: str, estimate: Estimate, fill: str) -> Iterator[str]:
    left, length = 66, WIDTH - 66 - 62
    yield text(60, y, name, anchor="end", size=11)
    yield rect(left, y - 10, length, 11, "#f0f0f0")
    if math.isnan(estimate.value):
        yield text(left + 4, y, "undefined", size=11)
        return
    yield rect(left, y - 10, length * estimate.value, 11, fill)
    if not math.isnan(estimate.low):  # F1 of a class that was never predicted has no interval
        low, high = left + length * estimate.low, left + length * estimate.high
        whisker = f"M{low:.1f} {y - 4.5}H{high:.1f}M{low:.1f} {y - 8}v7M{high:.1f} {y - 8}v7"
        yield f'<path d="{whisker}" stroke="{INK}" fill="none"/>'
    yield text(WIDTH, y, f"{estimate.value:.1%}", anchor="end", size=12)


def _axes(x_name: str, y_name: str) -> Iterator[str]:
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        yield f'<path d="M{_LEFT} {_y(share):.1f}h{_SIDE}M{_x(share):.1f} {_TOP}v{_PLOT_HEIGHT}" stroke="{GRID}"/>'
        yield text(_LEFT - 6, _y(share) + 4, f"{share:.0%}", anchor="end", size=11)
        yield text(_x(share), _TOP + _PLOT_HEIGHT + 16, f"{share:.0%}", anchor="middle", size=11)
    middle = _TOP + _PLOT_HEIGHT / 2
    yield text(_LEFT + _SIDE / 2, _TOP + _PLOT_HEIGHT + 34, x_name, anchor="middle", size=11)
    yield text(10, middle, y_name, anchor="middle", size=11, rotate=-90)


def _x(share: float) -> float:
    return _LEFT + share * _SIDE


def _y(share: float) -> float:
    return _TOP + (1 - share) * _PLOT_HEIGHT


def _path(points: Sequence[tuple[float, float]], color: str, dash: str, width: float) -> str:
    steps = " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in points)
    return (
        f'<polyline points="{steps}" fill="none" stroke="{color}" stroke-width="{width}" stroke-dasharray="{dash}" '
        'stroke-linejoin="round"/>'
    )


def _two(value: float) -> str:
    return "undefined" if math.isnan(value) else f"{value:.2f}"
