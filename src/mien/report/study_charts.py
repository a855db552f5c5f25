"""Charts of a study. Their colors stand in study.css, so that they are readable on light and on dark."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from statistics import median

from mien.report.study import SearchField, Study, Trial, show
from mien.report.svg import BLUE, WIDTH, rect, svg, text

MAX_DOTS = 500
"""At most this many trials are drawn in a chart: the best, and an even choice of the others."""

MAX_CURVES = 60
TICKS = 5
_LEFT, _TOP, _SIDE, _HEIGHT = 44, 12, 304, 190
_BOTTOM = _TOP + _HEIGHT


class AccuracyScale:
    """A scale from the lowest accuracy to the highest, with round numbers on it."""

    def __init__(self, values: Sequence[float]) -> None:
        low, high = min(values, default=0.0), max(values, default=1.0)
        wide = max(high - low, 0.01)
        exponent = 10 ** math.floor(math.log10(wide / TICKS))
        step = next((m * exponent for m in (1, 2, 5, 10) if wide / (m * exponent) <= TICKS), wide)
        self.low = max(math.floor((low - wide * 0.04) / step) * step, 0.0)
        self.high = min(math.ceil((high + wide * 0.04) / step) * step, 1.0)
        if self.high - self.low < step:  # all of them at one end
            self.low = max(self.high - step, 0.0)
        count = round((self.high - self.low) / step)
        self.ticks = [self.low + i * step for i in range(count + 1)]
        self.digits = 0 if step >= 0.01 else 1 if step >= 0.001 else 2

    def share(self, value: float) -> float:
        """Where `value` lies, 0..1."""
        return (value - self.low) / (self.high - self.low)

    def words(self, value: float) -> str:
        """A tick's label."""
        return f"{value:.{self.digits}%}"


def progress(study: Study) -> str:
    """Every finished trial in its order, and the best so far as a line."""
    trials = _with_accuracy(study.finished)
    scale = AccuracyScale([_accuracy(t) for t in trials])
    last = max((t.number for t in trials), default=1)
    parts = [*_levels(scale), *_numbers(last, "trial")]
    best, steps = 0.0, ""
    for trial in trials:
        x = _x(trial.number / max(last, 1))
        if trial.state == "complete" and _accuracy(trial) > best:
            best = _accuracy(trial)
            y = _y(scale.share(best))
            steps += f"H{x:.1f}V{y:.1f}" if steps else f"M{x:.1f} {y:.1f}"
    if steps:
        parts.append(f'<path class="lead" d="{steps}H{_x(1):.1f}"/>')
    parts += [
        _dot(_x(t.number / max(last, 1)), _y(scale.share(_accuracy(t))), t, study) for t in _chosen(trials, study)
    ]
    return svg(_BOTTOM + 38, "Accuracy of every trial in order, and the best so far", parts)


def curves(study: Study) -> str:
    """Accuracy of every trial, epoch by epoch; the best one is thick, the base recipe dashed."""
    trials = [t for t in study.trials if t.curve]
    scale = AccuracyScale([v for t in trials for v in t.curve])
    parts = [*_levels(scale), *_numbers(study.epochs, "epoch", 1)]
    marked = [t for t in (study.base, study.best) if t]
    others = [t for t in trials if t not in marked]
    for trial in [*others[:: max(len(others) // MAX_CURVES, 1)], *marked]:
        kind = "best" if trial is study.best else "base" if trial.is_base else ""
        points = [f"{_x(i / max(study.epochs - 1, 1)):.1f},{_y(scale.share(v)):.1f}" for i, v in enumerate(trial.curve)]
        parts.append(f'<polyline class="curve {kind}" points="{" ".join(points)}">{_title(trial)}</polyline>')
        if len(points) == 1 or trial.state == "pruned":
            x, y = points[-1].split(",")
            parts.append(f'<circle class="end {kind}" cx="{x}" cy="{y}" r="2.5"/>')
    return svg(_BOTTOM + 38, "Accuracy of every trial by epoch", parts)


def importance(study: Study) -> str:
    """A bar for each field, the most important first."""
    ranked = sorted(study.importances.items(), key=lambda pair: -pair[1])
    largest = max([0.01, *study.importances.values()])
    parts: list[str] = []
    y = 14.0
    for name, share in ranked:
        parts.append(text(0, y, name, size=12))
        parts.append(text(WIDTH, y, f"{share:.0%}", anchor="end", size=12))
        parts.append(rect(0, y + 5, WIDTH * share / largest, 9, BLUE))
        y += 34
    return svg(y - 10, "Importance of each field", parts)


def by_field(study: Study, field: SearchField) -> str:
    """Accuracy of every finished trial against one field's value: a row for each choice, or a plot over the range."""
    trials = [t for t in _with_accuracy(study.finished) if field.name in t.params]
    scale = AccuracyScale([_accuracy(t) for t in trials])
    chosen = _chosen(trials, study)
    if field.choices:
        return _rows(study, field, trials, chosen, scale)
    parts = list(_levels(scale))
    for share in (0.0, 0.5, 1.0):
        anchor = {0.0: "start", 0.5: "middle", 1.0: "end"}[share]
        parts.append(text(_x(share), _BOTTOM + 17, _at(field, share), anchor=anchor, size=11))
        parts.append(f'<path class="grid" d="M{_x(share):.1f} {_TOP}v{_HEIGHT}"/>')
    for trial in chosen:
        x = _x(field.position(trial.params[field.name]))
        parts.append(_dot(x, _y(scale.share(_accuracy(trial))), trial, study))
    return svg(_BOTTOM + 26, f"Accuracy by {field.name}", parts)


def _rows(
    study: Study, field: SearchField, trials: Sequence[Trial], chosen: Sequence[Trial], scale: AccuracyScale
) -> str:
    """Accuracy to the right, one row a choice; the bar is the median of its complete trials."""
    left, wide = 6.0, WIDTH - 12.0
    parts: list[str] = []
    y = 14.0
    for choice in field.choices:
        here = [_accuracy(t) for t in trials if t.params[field.name] == choice and t.state == "complete"]
        tried = sum(t.params[field.name] == choice for t in trials)
        parts.append(text(0, y, show(choice), size=12))
        parts.append(text(WIDTH, y, f"{tried} tried", anchor="end", size=11))
        parts.append(f'<path class="grid" d="M{left} {y + 15:.1f}h{wide}"/>')
        parts += [
            _dot(left + wide * scale.share(_accuracy(t)), y + 15, t, study)
            for t in chosen
            if t.params[field.name] == choice
        ]
        if here:
            middle = left + wide * scale.share(median(here))
            parts.append(f'<path class="lead" d="M{middle:.1f} {y + 6:.1f}v18"/>')
        y += 44
    for tick in scale.ticks:
        at = scale.share(tick)
        anchor = "start" if at < 0.02 else "end" if at > 0.98 else "middle"
        x = left + wide * at
        parts.append(f'<path class="grid" d="M{x:.1f} {y - 16:.1f}v6"/>')
        parts.append(text(x, y + 2, scale.words(tick), anchor=anchor, size=11))
    return svg(y + 8, f"Accuracy by {field.name}", parts)


def _levels(scale: AccuracyScale) -> Iterator[str]:
    for tick in scale.ticks:
        y = _y(scale.share(tick))
        yield f'<path class="grid" d="M{_LEFT} {y:.1f}h{_SIDE}"/>'
        yield text(_LEFT - 6, y + 4, scale.words(tick), anchor="end", size=11)


def _numbers(last: int, name: str, first: int = 0) -> Iterator[str]:
    """Whole numbers below a plot."""
    wide = max(last - first, 1)
    step = next(s for e in range(9) for s in (10**e, 2 * 10**e, 5 * 10**e) if wide / s <= 6)
    for number in range(first, last + 1, step):
        yield text(_x((number - first) / wide), _BOTTOM + 17, str(number), anchor="middle", size=11)
    yield text(_LEFT + _SIDE / 2, _BOTTOM + 34, name, anchor="middle", size=12)


def _dot(x: float, y: float, trial: Trial, study: Study) -> str:
    """A full circle for a complete trial, a ring for one that was stopped, a diamond for the best."""
    if trial is study.best:
        return f'<path class="best" d="M{x:.1f} {y - 7:.1f}l7 7l-7 7l-7 -7z">{_title(trial)}</path>'
    kind = "dot" if trial.state == "complete" else "ring"
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4">{_title(trial)}</circle>'


def _title(trial: Trial) -> str:
    words = f"trial {trial.number}: " + ("" if trial.accuracy is None else f"{trial.accuracy:.2%}")
    return f"<title>{escape(words)}</title>"


def _chosen(trials: Sequence[Trial], study: Study) -> list[Trial]:
    """What is drawn, the best one last: on top."""
    kept = [t for t in trials if t is not study.best]
    if len(kept) > MAX_DOTS:
        ranked = sorted(kept, key=_accuracy, reverse=True)
        half = MAX_DOTS // 2
        kept = ranked[:half] + ranked[half :: len(ranked) // half]
    return [*kept, *(t for t in trials if t is study.best)]


def _with_accuracy(trials: Sequence[Trial]) -> list[Trial]:
    return [t for t in trials if t.accuracy is not None and t.state != "failed"]


def _accuracy(trial: Trial) -> float:
    return trial.accuracy or 0.0


def _at(field: SearchField, share: float) -> str:
    low, high = field.low, field.high
    if share == 0.5:
        return f"{math.sqrt(low * high):.2g}" if field.log else f"{(low + high) / 2:.3g}"
    return show(low if share == 0 else high)


def _x(share: float) -> float:
    return _LEFT + share * _SIDE


def _y(share: float) -> float:
    return _BOTTOM - share * _HEIGHT
