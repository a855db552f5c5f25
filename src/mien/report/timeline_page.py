"""A timeline as one HTML page that needs nothing else, and timelines -> files."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from mien.errors import OutputError
from mien.files import write_text
from mien.output.files import check_free
from mien.records import UNSURE_BELOW, Failure, FrameReadings
from mien.report.evaluation_text import counted
from mien.report.html import fill, read_part, to_page
from mien.report.timeline_svg import (
    COLUMNS,
    STEPS_S,
    LaneChoice,
    LaneFrame,
    choose,
    clean,
    hex_color,
    ink_of,
    jpeg_url,
    notes,
    shape_of,
    ticks,
    to_svg,
)
from mien.temporal.episodes import Episode, totals
from mien.temporal.timeline import Lane, Recorder, Timeline
from mien.timing import clock_time

MAX_ROWS = 2000
"""At most this many episodes are listed, the longest ones."""

MAX_EPISODES = 20_000
"""At most this many can be zoomed into. With `MAX_LANES` and `MAX_POINTS` this keeps every page under 8 MB."""

TAG_SHARE = 0.02
"""Episodes shorter than this part of the video have no name in the first view: none would fit."""

PARTS = 250
"""Probabilities travel as whole numbers of so many parts."""


def to_html(timeline: Timeline, *, hide_below_s: float | None = None) -> str:
    """The page: the figure, complete without a script; with one it can be zoomed and read out. Totals and episodes.

    `hide_below_s`: tracks followed for a shorter time are folded away under a line that counts them; None: those of
    `SHORT_S`.
    """
    choice = choose(timeline, hide_below_s)
    drawn = [*choice.lanes, *choice.brief]
    numbers = {lane.track for lane in drawn}
    episodes = _longest(timeline.episodes, MAX_EPISODES)
    times = ticks(timeline.start_s, timeline.end_s, 6)
    body = fill(
        "timeline.html",
        style=read_part("timeline.css"),
        colors=Markup(_colors(timeline, times)),
        source=clean(timeline.source),
        about=_about(timeline),
        private=_private(drawn),
        legend=Markup(
            "".join(f'<li><i class="swatch b{k}"></i>{_text(c)}</li>' for k, c in enumerate(timeline.classes))
        ),
        density="few" if len(choice.lanes) <= 6 else "many",
        ticks=Markup("".join(_tick(timeline, t, int(any(s % 1 for s in times))) for t in times)),
        lanes=Markup("".join(_lane(timeline, lane) for lane in choice.lanes)),
        brief=Markup(_brief(timeline, choice)),
        notes=Markup(" ".join(_text(line) for line in notes(timeline, choice._replace(brief=[]), timeline.step_s))),
        totals_note=f" Of the {counted(len(drawn), 'track')} that are drawn." if choice.left_out else "",
        totals=Markup(_totals(timeline, numbers)),
        episodes_note=_episodes_note(timeline),
        episodes=Markup(_episodes(timeline, numbers)),
        data=Markup(_data(timeline, drawn, episodes)),
        script=read_part("timeline.js"),
    )
    return to_page(clean(f"timeline of {timeline.source}"), body)


def write_timeline(
    timeline: Timeline, path: Path, *, overwrite: bool = False, hide_below_s: float | None = None
) -> None:
    """Write a page (.html) or a figure (.svg), by the suffix; never left half written.

    Raises:
        OutputError: another suffix; `path` exists already, or cannot be written.
    """
    check_timeline_path(path, overwrite=overwrite)
    make = to_svg if path.suffix.lower() == ".svg" else to_html
    write_text(path, make(timeline, hide_below_s=hide_below_s))


class TimelineFile:
    """A `Sink` that draws one video's timeline as a page (.html) or a figure (.svg).

    Args:
        path: of the file to write.
        overwrite: replace it if it is there.
        thumbnails: show each face; needs the pictures of the frames.

    Raises:
        OutputError: another suffix; `path` exists already.
    """

    def __init__(self, path: Path, *, overwrite: bool = False, thumbnails: bool = True) -> None:
        check_timeline_path(path, overwrite=overwrite)
        self._path, self._overwrite = path, overwrite
        self._recorder = Recorder(thumbnails=thumbnails)
        self._closed = False

    def add(self, item: int, result: FrameReadings | Failure) -> None:
        """Take the readings of the next frame."""
        if not isinstance(result, Failure):
            self._recorder.add(result)

    def close(self, error: BaseException | None = None) -> None:
        """Write the file; after an `error`, none.

        Raises:
            OutputError: it cannot be written.
        """
        if not self._closed and error is None:
            write_timeline(self._recorder.timeline(), self._path, overwrite=self._overwrite)
        self._closed = True


def check_timeline_path(path: Path, *, overwrite: bool = False) -> None:
    """Say before a long run what `write_timeline` would refuse after it.

    Raises:
        OutputError: a suffix that is neither .html nor .svg; `path` exists already.
    """
    if path.suffix.lower() not in (".html", ".svg"):
        raise OutputError(f"{path}: expected a timeline's name that ends in .html (a page) or .svg (a figure)")
    check_free(path, overwrite=overwrite)


# --- the figure -------------------------------------------------------------------------------------------------------


def _tick(timeline: Timeline, time_s: float, digits: int) -> str:
    return f'<span style="left:{_percent(timeline, time_s):.2f}%">{clock_time(time_s, digits)}</span>'


def _lane(timeline: Timeline, lane: Lane) -> str:
    shape = shape_of(lane, timeline.start_s, timeline.end_s, LaneFrame(0, 0, COLUMNS, 100))
    areas = "".join(f'<path class="c{k}" d="{path}"/>' for k, path in shape.areas.items())
    face = f'<img src="{jpeg_url(lane.thumbnail)}" alt="" width="56" height="56">' if lane.thumbnail else ""
    digits = _digits(timeline)
    times = f"{clock_time(lane.first_s, digits)}–{clock_time(lane.last_s, digits)}"
    own = timeline.episodes_of(lane)
    about = _text(f"Track {lane.track}, {times}, {counted(len(own), 'episode')}")
    return (
        f'<div class="lane" id="track-{lane.track}"><div class="who">{face}<span><b>track </b>{lane.track}'
        f'<small>{times}</small></span></div><div class="time"><svg viewBox="0 0 {COLUMNS} 100" '
        f'preserveAspectRatio="none" role="img" aria-label="{about}"><path class="seen" d="{shape.seen}"/>{areas}'
        f'<path class="unsure" d="{shape.unsure}"/><path class="trace" d="{shape.trace}"/></svg>'
        f"{''.join(_tag(timeline, e) for e in own)}</div></div>\n"
    )


def _tag(timeline: Timeline, episode: Episode) -> str:
    left, right = (_percent(timeline, t) for t in (episode.start_s, episode.end_s))
    if right - left < 100 * TAG_SHARE:
        return ""
    kind = timeline.classes.index(episode.label)
    return (
        f'<div class="tag t{kind}" style="left:{left:.2f}%;width:{right - left:.2f}%">'
        f"<span>{_text(episode.label)}</span></div>"
    )


def _brief(timeline: Timeline, choice: LaneChoice) -> str:
    if not choice.brief:
        return ""
    tracks = counted(len(choice.brief), "track")
    return (
        f"<details><summary>{tracks} followed for less than {choice.limit_s:.3g} s</summary>"
        f"{''.join(_lane(timeline, lane) for lane in choice.brief)}</details>"
    )


def _colors(timeline: Timeline, times: Sequence[float]) -> str:
    """Styles of areas (c), bars and swatches (b) and names (t), by the number of the class, and the first grid."""
    rules = [
        f".c{k}{{fill:{hex_color(c)}}}.b{k}{{background:{hex_color(c)}}}.t{k}{{color:{ink_of(c)}}}"
        for k, c in enumerate(timeline.classes)
    ]
    if len(times) > 1:
        size, offset = _percent(timeline, times[1]) - _percent(timeline, times[0]), _percent(timeline, times[0])
        # A background's place in percent is a share of what it leaves free.
        at = 100 * offset / (100 - size) if size < 100 else 0.0
        rules.append(f"#timeline{{--tick:{size:.4f};--tick-at:{at:.4f}}}")
    return "\n".join(rules) + "\n"


def _percent(timeline: Timeline, time_s: float) -> float:
    return 100 * (time_s - timeline.start_s) / max(timeline.seconds, 1e-9)


def _data(timeline: Timeline, lanes: Sequence[Lane], episodes: Sequence[Episode]) -> str:
    """What the script draws from, as JSON that cannot end the element it stands in."""
    number = {c: k for k, c in enumerate(timeline.classes)}
    document = {
        "start": timeline.start_s,
        "end": timeline.end_s,
        "step": timeline.step_s,
        "unsure": UNSURE_BELOW,
        "steps": STEPS_S,
        "classes": [clean(c) for c in timeline.classes],
        "lanes": [
            {
                "track": lane.track,
                "start": _packed(np.rint(1000 * (lane.start_s - timeline.start_s)).astype("<u4")),
                "end": _packed(np.rint(1000 * (lane.end_s - timeline.start_s)).astype("<u4")),
                "p": _packed(np.rint(PARTS * lane.probabilities).astype("u1")),
            }
            for lane in lanes
        ],
        "episodes": [[e.track, number[e.label], round(e.start_s, 3), round(e.end_s, 3)] for e in episodes],
    }
    return json.dumps(document, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _packed(values: NDArray[Any]) -> str:
    return base64.b64encode(values.tobytes()).decode()


# --- the words and tables ---------------------------------------------------------------------------------------------


def _about(timeline: Timeline) -> str:
    digits = _digits(timeline)
    span = f"{clock_time(timeline.start_s, digits)} to {clock_time(timeline.end_s, digits)}"
    return f"{span}, {counted(len(timeline.lanes), 'track')}, {counted(len(timeline.episodes), 'episode')}."


def _digits(timeline: Timeline) -> int:
    """Decimals of the seconds of a time: one in a video of minutes, where a whole second would be too coarse."""
    return int(timeline.end_s - timeline.start_s < 600)


def _private(lanes: Sequence[Lane]) -> str:
    shows_faces = any(lane.thumbnail for lane in lanes)
    return "This page holds pictures of faces: treat it as you treat the video." if shows_faces else ""


def _totals(timeline: Timeline, drawn: set[int]) -> str:
    rows = {(t.track, t.label): t for t in totals(timeline.episodes)}
    classes = [c for c in timeline.classes if any(label == c for _, label in rows)]
    if not rows:
        return "<p>No episodes.</p>"
    lines: list[str] = []
    digits = _digits(timeline)
    for lane in timeline.lanes:
        own = [rows.get((lane.track, c)) for c in classes]
        if lane.track in drawn and any(own):
            cells = "".join(f"<td>{t.seconds:.1f}<small>{t.episodes} ×</small></td>" if t else "<td></td>" for t in own)
            lines.append(
                f'<tr><th scope="row"><a href="#track-{lane.track}">track {lane.track}</a></th>'
                f"<td>{clock_time(lane.first_s, digits)} to {clock_time(lane.last_s, digits)}</td>{cells}</tr>"
            )
    missing = len(timeline.lanes) - len(lines)
    note = (
        f"<p>{counted(missing, 'track')} of {len(timeline.lanes)} {'is' if missing == 1 else 'are'} not in this table: "
        "without an episode, or not drawn.</p>"
        if missing
        else ""
    )
    heads = "".join(f'<th scope="col">{_swatch(timeline, c)}{_text(c)}</th>' for c in classes)
    return (
        f'<table><thead><tr><th scope="col">track</th><th scope="col">seen</th>{heads}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table>{note}"
    )


def _episodes(timeline: Timeline, drawn: set[int]) -> str:
    heads = "".join(
        f'<th scope="col"{kind}>{name}</th>'
        for name, kind in (
            ("track", ""),
            ("expression", ' class="name"'),
            ("from", ""),
            ("to", ""),
            ("seconds", ""),
            ("highest probability", ""),
        )
    )
    rows = "".join(
        f'<tr><th scope="row">{_track(e, drawn)}</th><td class="name">{_swatch(timeline, e.label)}{_text(e.label)}</td>'
        f"<td>{clock_time(e.start_s, 1)}</td><td>{clock_time(e.end_s, 1)}</td><td>{e.end_s - e.start_s:.1f}</td>"
        f"<td>{e.peak:.0%}</td></tr>"
        for e in _longest(timeline.episodes, MAX_ROWS)
    )
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>" if rows else "<p>No episodes.</p>"


def _track(e: Episode, drawn: set[int]) -> str:
    if e.track not in drawn:
        return f"track {e.track}"
    return f'<a href="#track-{e.track}" data-from="{e.start_s:.3f}" data-to="{e.end_s:.3f}">track {e.track}</a>'


def _episodes_note(timeline: Timeline) -> str:
    if len(timeline.episodes) <= MAX_ROWS:
        return "By track, then by time."
    longest = f"The longest {MAX_ROWS:,} of {len(timeline.episodes):,}; an ELAN file of the same run holds all."
    return f"{longest} By track, then by time."


def _longest(episodes: Sequence[Episode], most: int) -> list[Episode]:
    longest = sorted(episodes, key=lambda e: e.start_s - e.end_s)[:most]
    return sorted(longest, key=lambda e: (e.track, e.start_s))


def _swatch(timeline: Timeline, label: str) -> str:
    return f'<i class="swatch b{timeline.classes.index(label)}"></i>'


def _text(text: str) -> str:
    return escape(clean(text))
