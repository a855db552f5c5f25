"""A timeline as a figure: one lane a track, time to the right, the most probable expression as color and height."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.output.draw import color_of, ink_on
from mien.output.text import fit_text, text_width
from mien.records import UNSURE_BELOW
from mien.temporal.timeline import Lane, Timeline
from mien.timing import clock_time

SHORT_S = 2.0
"""Tracks followed for a shorter time are set apart (in a video under 40 s: for less than a twentieth of it)."""

MAX_LANES = 300
"""At most this many lanes are drawn, those of the longest tracks."""

COLUMNS = 480
"""A lane is drawn from the mean probabilities of so many equal parts of its time."""

STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)

WIDTH = 1000
"""Width of the SVG in its own units; all sizes here are in them."""

_LEFT, _RIGHT, _FACE_X = 132, 968, 14
_INK, _DIM, _GRID, _SEEN = "#1a1a1a", "#555555", "#d8d8d8", "#eceef0"
_FONT = "Helvetica, Arial, 'Liberation Sans', sans-serif"


class LaneChoice(NamedTuple):
    """Which lanes are drawn: `lanes`, and apart from them the `brief` ones; `left_out` tracks are in neither."""

    lanes: list[Lane]
    brief: list[Lane]
    left_out: int
    limit_s: float


class LaneFrame(NamedTuple):
    """Where a lane is drawn."""

    x: float
    y: float
    width: float
    height: float


class LaneShape(NamedTuple):
    """A lane as SVG path data: where its face is seen, the area of each class (by number), the line on top of them.

    `unsure` covers the stretches in which no class has half of the probability.
    """

    seen: str
    areas: dict[int, str]
    trace: str
    unsure: str


def to_svg(timeline: Timeline, *, hide_below_s: float | None = None) -> str:
    """The figure as an SVG that needs nothing else and keeps to what every drawing program reads.

    `hide_below_s`: tracks followed for a shorter time are left out, and the figure says so; None: those of `SHORT_S`.
    """
    choice = choose(timeline, hide_below_s)
    many = len(choice.lanes) > 12
    high = 26 if many else 40
    legend, y = _legend(timeline.classes)
    y += 16 * many
    # Pillow's letters are a little narrower than those of most programs, here and below.
    name = fit_text(clean(timeline.source), 15, round((_RIGHT - _FACE_X) / 1.2))
    parts = [_text(_FACE_X, 28, name, size=15, weight="700"), legend]
    lane_parts: list[str] = []
    top = y
    for lane in choice.lanes:
        lane_parts += _lane(timeline, lane, LaneFrame(_LEFT, y, _RIGHT - _LEFT, high))
        y += high + (6 if many else 10)
    parts += _axis(timeline, top, y, twice=many)
    parts += lane_parts
    y += 52
    for line in notes(timeline, choice):
        parts.append(_text(_FACE_X, y, line, size=11, fill=_DIM))
        y += 15
    name = escape(clean(f"Expressions shown in {timeline.source}"), quote=True)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" font-family="{_FONT}" role="img" aria-label="{name}">'
        f'<title>{name}</title><defs><clipPath id="round" clipPathUnits="objectBoundingBox"><rect width="1" height="1" '
        f'rx=".16"/></clipPath></defs><rect width="{WIDTH}" height="{y}" fill="#ffffff"/>{"".join(parts)}</svg>\n'
    )


def choose(timeline: Timeline, hide_below_s: float | None = None) -> LaneChoice:
    """The longest `MAX_LANES` tracks, by first appearance, the brief ones apart; if all are brief, none is."""
    limit_s = min(SHORT_S, timeline.seconds / 20) if hide_below_s is None else hide_below_s
    longest = sorted(timeline.lanes, key=lambda lane: -lane.seconds)[:MAX_LANES]
    kept = sorted(longest, key=lambda lane: (lane.first_s, lane.track))
    lanes = [lane for lane in kept if lane.seconds >= limit_s]
    brief = [lane for lane in kept if lane.seconds < limit_s]
    if not lanes and hide_below_s is None:
        lanes, brief = brief, []
    return LaneChoice(lanes, brief, len(timeline.lanes) - len(kept), limit_s)


def notes(timeline: Timeline, choice: LaneChoice, finest_s: float | None = None) -> Iterator[str]:
    """What a reader of the figure must know, line by line. `finest_s`: what zooming in shows, where one can."""
    if not timeline.lanes:
        yield "No face was followed."
        return
    mean_s = max(timeline.step_s, timeline.seconds / COLUMNS)
    mean = f"{mean_s:.2g} s"
    closer = f" (zoomed in, of {finest_s:.2g} s)" if finest_s and finest_s < mean_s else ""
    yield (
        f"Color: the most probable expression. Height: its probability, 0 to 100 %, smoothed, mean of {mean}{closer}. "
        "Names: episodes. Pale: face in view. Washed out: unsure, no expression reaches half."
    )
    if choice.brief:
        yield f"Not drawn: {_count(len(choice.brief))} followed for less than {choice.limit_s:.3g} s."
    if choice.left_out:
        yield f"Not drawn: {_count(choice.left_out)} more, the shortest of {len(timeline.lanes)}."


def ticks(start_s: float, end_s: float, most: int) -> list[float]:
    """Round times from `start_s` to `end_s`, `most` of them at most (of the steps in `STEPS_S`)."""
    step = next((s for s in STEPS_S if (end_s - start_s) / s <= most - 1), STEPS_S[-1])
    first = int(np.ceil(start_s / step - 1e-9))
    return [n * step for n in range(first, int(np.floor(end_s / step + 1e-9)) + 1)]


def shape_of(lane: Lane, start_s: float, end_s: float, frame: LaneFrame, columns: int = COLUMNS) -> LaneShape:
    """The part of a lane from `start_s` to `end_s`, drawn into `frame`."""
    means, covered = _means(lane, np.linspace(start_s, end_s, columns + 1))
    best = np.where(covered, means.argmax(axis=1), -1).tolist()
    high = means.max(axis=1, initial=0).tolist()
    wide, base = frame.width / columns, frame.y + frame.height
    seen = traces = ""
    areas: dict[int, str] = {}
    column, before = 0, -1
    for k, group in groupby([*best, -1]):
        begin, column = column, column + len(list(group))
        left, right = frame.x + begin * wide, frame.x + column * wide
        if before >= 0 and k < 0:
            seen += f"H{left:.4g}V{base:.4g}Z"
        if k >= 0:
            line = _line(high[begin:column], left, wide, frame)
            areas[k] = areas.get(k, "") + f"M{left:.4g} {base:.4g}L{line}L{right:.4g} {base:.4g}Z"
            seen += f"M{left:.4g} {base:.4g}V{frame.y:.4g}" if before < 0 else ""
            traces += ("M" if before < 0 else "L") + line
        before = k
    return LaneShape(seen, areas, traces, _unsure(best, high, wide, frame))


def _unsure(best: Sequence[int], high: Sequence[float], wide: float, frame: LaneFrame) -> str:
    """Boxes over the columns whose most probable class is below `UNSURE_BELOW`."""
    found, column = "", 0
    for unsure, group in groupby(k >= 0 and p < UNSURE_BELOW for k, p in zip(best, high, strict=True)):
        begin, column = column, column + len(list(group))
        if unsure:
            left, right = frame.x + begin * wide, frame.x + column * wide
            found += f"M{left:.4g} {frame.y:.4g}H{right:.4g}V{frame.y + frame.height:.4g}H{left:.4g}Z"
    return found


def _line(high: Sequence[float], left: float, wide: float, frame: LaneFrame) -> str:
    """Points through the middles of columns, level at both ends; those in a level stretch are left out."""
    ys = [f"{frame.y + (1 - p) * frame.height:.4g}" for p in high]
    xs = [left + (i + 0.5) * wide for i in range(len(ys))]
    points = [(left, ys[0]), *zip(xs, ys, strict=True), (left + len(ys) * wide, ys[-1])]
    return "L".join(
        f"{x:.4g} {y}"
        for i, (x, y) in enumerate(points)
        if i in (0, len(points) - 1) or not points[i - 1][1] == y == points[i + 1][1]
    )


def _means(lane: Lane, edges: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Mean probabilities `[C, K]` between C + 1 edges, and where there are any `[C]`: by integrals, so exactly."""
    kinds = len(lane.probabilities[0])
    spent = (lane.end_s - lane.start_s)[:, None] * np.insert(lane.probabilities, 0, 1, axis=1)
    sums = np.vstack([np.zeros(kinds + 1), np.cumsum(spent, axis=0)])
    # What was summed up by the start, and by the end, of each stretch.
    times = np.stack([lane.start_s, lane.end_s], axis=1).ravel()
    values = np.stack([sums[:-1], sums[1:]], axis=1).reshape(-1, kinds + 1)
    parts = np.empty((len(edges) - 1, kinds + 1))
    for k in range(kinds + 1):
        parts[:, k] = np.diff(np.interp(edges, times, values[:, k]))
    covered = parts[:, 0] > 1e-9
    means = np.divide(parts[:, 1:], parts[:, :1], out=np.zeros_like(parts[:, 1:]), where=covered[:, None])
    return means, covered


def clean(text: str) -> str:
    """Without the characters that XML forbids: a file's name can hold them."""
    return re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)


def hex_color(label: str) -> str:
    """A class's color as #rrggbb."""
    return "#{:02x}{:02x}{:02x}".format(*color_of(label))


def ink_of(label: str) -> str:
    """Black or white as #rrggbb, for text on a class's color."""
    return "#{:02x}{:02x}{:02x}".format(*ink_on(color_of(label)))


def jpeg_url(data: bytes) -> str:
    """A picture as a `data:` URL."""
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


# --- the SVG ----------------------------------------------------------------------------------------------------------


def _lane(timeline: Timeline, lane: Lane, frame: LaneFrame) -> Iterator[str]:
    middle, text_x = frame.y + frame.height / 2, _FACE_X
    if lane.thumbnail:
        side = f'x="{_FACE_X}" y="{frame.y}" width="{frame.height}" height="{frame.height}"'
        yield f'<image {side} clip-path="url(#round)" xlink:href="{jpeg_url(lane.thumbnail)}"/>'
        text_x = _FACE_X + round(frame.height) + 8
    yield _text(text_x, middle + 4, f"track {lane.track}", size=12)
    shape = shape_of(lane, timeline.start_s, timeline.end_s, frame._replace(y=0))
    yield f'<g transform="translate(0 {frame.y})"><path d="{shape.seen}" fill="{_SEEN}"/>'
    for k, path in shape.areas.items():
        yield f'<path d="{path}" fill="{hex_color(timeline.classes[k])}"/>'
    if shape.unsure:
        yield f'<path d="{shape.unsure}" fill="{_SEEN}" fill-opacity="0.7"/>'
    yield f'<path d="{shape.trace}" fill="none" stroke="{_INK}" stroke-width="0.6" stroke-linejoin="round"/></g>'
    for episode in timeline.episodes_of(lane):
        left, right = (_x(timeline, t) for t in (episode.start_s, episode.end_s))
        if right - left > 12 and 1.2 * text_width(clean(episode.label), 11) + 8 <= right - left:
            yield _text(left + 4, frame.y + frame.height - 5, episode.label, size=11, fill=ink_of(episode.label))


def _legend(classes: Sequence[str]) -> tuple[str, int]:
    """Colors with their names, in as many rows as they need; and where what follows begins."""
    parts: list[str] = []
    x, y = float(_FACE_X), 52
    for label in classes:
        wide = 1.2 * text_width(clean(label), 12) + 38
        if x + wide > _RIGHT:
            x, y = float(_FACE_X), y + 20
        parts.append(
            f'<rect x="{x:.1f}" y="{y - 10}" width="12" height="12" rx="2" fill="{hex_color(label)}" stroke="{_INK}" '
            'stroke-width="0.6"/>' + _text(x + 18, y, label, size=12)
        )
        x += wide
    return "".join(parts), y + 18


def _axis(timeline: Timeline, top: float, bottom: float, *, twice: bool) -> Iterator[str]:
    """The grid, with its times below it, and above it too if `twice`."""
    times = ticks(timeline.start_s, timeline.end_s, 11)
    digits = int(any(t % 1 for t in times))
    for time_s in times:
        x = _x(timeline, time_s)
        yield f'<path d="M{x:.1f} {top - 4}V{bottom + 4}" stroke="{_GRID}"/>'
        for y in (bottom + 18, top - 8)[: 1 + twice]:
            yield _text(x, y, clock_time(time_s, digits), size=11, anchor="middle")
    yield f'<path d="M{_LEFT} {bottom}H{_RIGHT}" stroke="{_INK}"/>'
    unit = "hours:minutes:seconds" if timeline.end_s >= 3600 else "minutes:seconds"
    yield _text((_LEFT + _RIGHT) / 2, bottom + 34, f"time ({unit})", size=11, anchor="middle", fill=_DIM)


def _x(timeline: Timeline, time_s: float) -> float:
    return _LEFT + (_RIGHT - _LEFT) * (time_s - timeline.start_s) / max(timeline.seconds, 1e-9)


def _text(
    x: float, y: float, text: str, *, size: int, anchor: str = "start", weight: str = "400", fill: str = _INK
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" '
        f'fill="{fill}">{escape(clean(text))}</text>'
    )


def _count(tracks: int) -> str:
    return f"{tracks} track{'' if tracks == 1 else 's'}"
