"""The course of a video as a figure and a page."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mien.temporal.timeline
from mien.errors import OutputError
from mien.records import Expression, Face, Frame, FrameReadings, Landmarks, Reading
from mien.report.timeline_page import to_html, write_timeline
from mien.report.timeline_svg import COLUMNS, LaneChoice, LaneFrame, choose, shape_of, ticks, to_svg
from mien.temporal.episodes import EpisodeFinder, Observer, Smoother
from mien.temporal.timeline import Recorder, Timeline
from mien.timing import clock_time

CLASSES = ("happy", "neutral", "sad")
SVG = "{http://www.w3.org/2000/svg}"
BLANK = np.zeros((8, 8, 3), np.uint8)


def frame(time_s: float | None, faces: dict[int | None, float], *, source: str = "v.mp4") -> FrameReadings:
    """One frame; `faces` says how happy each track is, the rest is neutral."""
    readings = tuple(
        Reading(source, 0, time_s, Face((0, 0, 4, 4), 0.9), Expression(CLASSES, (p, 1 - p, 0.0)), track)
        for track, p in faces.items()
    )
    return FrameReadings(Frame(BLANK, source, 0, time_s), readings)


def record(
    tracks: dict[int, tuple[float, float]], seconds: float = 10, fps: float = 5, source: str = "v.mp4"
) -> Timeline:
    """A video in which each track is there from when to when, happy in every other five seconds."""
    recorder = Recorder(thumbnails=False)
    for i in range(round(seconds * fps)):
        t = i / fps
        p = 0.1 if t % 10 < 5 else 0.9
        recorder.add(frame(t, {n: p for n, (start, end) in tracks.items() if start <= t < end}, source=source))
    return recorder.timeline()


def test_a_recorder_finds_the_episodes_that_an_observer_finds():
    recorder, observer = (
        Recorder(Smoother(0.1), EpisodeFinder(min_s=0.5)),
        Observer(Smoother(0.1), EpisodeFinder(min_s=0.5)),
    )
    rng = np.random.default_rng(0)
    for i in range(200):
        result = frame(i / 10, {1: float(rng.random()), 2: float(i % 40 < 20), None: 1.0})
        recorder.add(result)
        observer.add(result)
    timeline = recorder.timeline()
    assert timeline.episodes == tuple(observer.finish())
    assert timeline.episodes
    assert [timeline.episodes_of(lane) for lane in timeline.lanes] == [
        tuple(e for e in timeline.episodes if e.track == track) for track in (1, 2)
    ]


def test_a_lane_holds_the_smoothed_probabilities_where_the_face_is_seen():
    recorder = Recorder(Smoother(0))
    for i in range(100):
        t = i / 10
        recorder.add(frame(t, {7: i / 100} if not 3 <= t < 6 else {}))
    timeline = recorder.timeline()
    (lane,) = timeline.lanes
    assert (lane.track, timeline.classes, timeline.source) == (7, CLASSES, "v.mp4")
    assert (lane.first_s, lane.last_s, timeline.start_s) == (0, 9.9, 0)
    assert timeline.end_s == pytest.approx(10)
    np.testing.assert_allclose(lane.probabilities[:, 0], np.r_[0:30, 60:100] / 100, atol=1e-6)
    np.testing.assert_allclose(lane.start_s, np.r_[0:30, 60:100] / 10)
    seen = float((lane.end_s - lane.start_s).sum())
    assert seen == pytest.approx(7)
    assert lane.end_s[29] == pytest.approx(3)


def test_frames_closer_than_a_step_are_averaged_and_rare_ones_hold():
    recorder = Recorder(Smoother(0))
    for i in range(8):
        recorder.add(frame(i / 40, {1: i / 10}))
    (lane,) = recorder.timeline().lanes
    np.testing.assert_allclose(lane.probabilities[:, 0], [0.15, 0.55], atol=1e-6)

    rare = Recorder()
    for i in range(5):
        rare.add(frame(60.0 * i, {1: 0.9}))
    (lane,) = rare.timeline().lanes
    assert float((lane.end_s - lane.start_s).sum()) == pytest.approx(300)


def test_memory_is_bounded_and_the_means_stay_right(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mien.temporal.timeline, "MAX_POINTS", 100)
    recorder = Recorder(Smoother(0))
    for i in range(1000):
        recorder.add(frame(i / 10, {1: i / 1000, 2: 0.25}))
    timeline = recorder.timeline()
    assert timeline.step_s == pytest.approx(3.2)
    assert sum(len(lane.start_s) for lane in timeline.lanes) <= 100 + 2
    first, second = timeline.lanes
    np.testing.assert_allclose(second.probabilities[:, 0], 0.25, atol=1e-6)
    np.testing.assert_allclose(first.probabilities[0, 0], np.mean(np.arange(32) / 1000), atol=1e-6)
    length = first.end_s - first.start_s
    assert float(length @ first.probabilities[:, 0]) / length.sum() == pytest.approx(0.4995, abs=1e-4)


def test_a_crowd_of_single_sights_does_not_blur_everything(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mien.temporal.timeline, "MAX_POINTS", 10)
    recorder = Recorder()
    for i in range(500):
        recorder.add(frame(i / 10, {i: 0.5}))
    assert recorder.timeline().step_s == mien.temporal.timeline.FIRST_STEP_S


def test_the_thumbnail_is_the_largest_surest_frontal_face():
    front: Landmarks = ((30, 40), (70, 40), (50, 60), (35, 80), (65, 80))
    side: Landmarks = ((30, 40), (70, 40), (68, 60), (45, 80), (65, 80))
    faces = [
        (50, Face((20, 20, 60, 60), 0.9, None)),
        (100, Face((0, 0, 100, 100), 0.9, side)),
        (200, Face((0, 0, 100, 100), 0.9, front)),
        (250, Face((0, 0, 100, 100), 0.5, front)),
        (20, Face((-50, 0, 50, 100), 0.99, None)),
    ]
    recorder, without = Recorder(), Recorder(thumbnails=False)
    for i, (level, face) in enumerate(faces):
        reading = Reading("v", i, i / 5, face, Expression(CLASSES, (0.2, 0.5, 0.3)), 1)
        result = FrameReadings(Frame(np.full((120, 120, 3), level, np.uint8), "v", i, i / 5), (reading,))
        recorder.add(result)
        without.add(result)
    data = recorder.timeline().lanes[0].thumbnail
    assert data is not None
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (72, 72, 3)
    np.testing.assert_allclose(picture, 200, atol=3)
    assert without.timeline().lanes[0].thumbnail is None
    assert base64.b64encode(data).decode() in to_svg(recorder.timeline())
    assert "data:image" not in to_svg(without.timeline()) + to_html(without.timeline())


def test_stills_and_an_empty_video_make_an_empty_figure():
    recorder = Recorder()
    recorder.add(frame(None, {None: 0.9}))
    timeline = recorder.timeline()
    assert timeline.lanes == ()
    for text in (to_svg(timeline), to_html(timeline)):
        assert "No face was followed." in text
    recorder.add(frame(0.0, {}))
    assert "No face was followed." in to_svg(recorder.timeline())
    recorder.add(frame(0.0, {1: 0.9}))
    assert "track 1" in to_svg(recorder.timeline())


def test_tracks_come_by_first_sight_and_brief_ones_are_counted():
    timeline = record({1: (5, 60), 2: (0, 60), 3: (7, 8), 4: (9, 10)}, seconds=60)
    assert [lane.track for lane in timeline.lanes] == [2, 1, 3, 4]
    choice = choose(timeline)
    assert [[lane.track for lane in lanes] for lanes in (choice.lanes, choice.brief)] == [[2, 1], [3, 4]]
    svg, html = to_svg(timeline), to_html(timeline)
    assert "Not drawn: 2 tracks followed for less than 2 s." in svg
    assert "track 3" not in svg
    assert "<summary>2 tracks followed for less than 2 s</summary>" in html
    assert 'id="track-3"' in html
    assert "track 3" in to_svg(timeline, hide_below_s=0)
    everybody_brief = record({1: (5, 6), 2: (0, 0.5)}, seconds=60)
    assert len(choose(everybody_brief).lanes) == 2
    assert "track 1" not in to_svg(everybody_brief, hide_below_s=5)


def test_beyond_the_most_lanes_the_shortest_are_left_out_and_counted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mien.report.timeline_svg.MAX_LANES", 3)
    timeline = record({n: (n, 60 - n) for n in range(1, 6)}, seconds=60)
    choice: LaneChoice = choose(timeline)
    assert ([lane.track for lane in choice.lanes], choice.left_out) == ([1, 2, 3], 2)
    for text in (to_svg(timeline), to_html(timeline)):
        assert "Not drawn: 2 tracks more, the shortest of 5." in text
    html = to_html(timeline)
    assert "by track and expression. Of the 3 tracks that are drawn." in html
    assert set(re.findall('href="#(track-[0-9]+)"', html)) == {"track-1", "track-2", "track-3"}
    assert '<th scope="row">track 5</th>' in html


def test_a_lane_is_drawn_by_its_means():
    timeline = record({1: (0, 10)})
    shape = shape_of(timeline.lanes[0], 0, 10, LaneFrame(0, 0, COLUMNS, 100))
    assert set(shape.areas) == {0, 1}
    assert shape.seen == "M0 100V0H480V100Z"
    ys = {k: [float(y) for y in re.findall(r"[\d.]+ ([\d.]+)", path)] for k, path in shape.areas.items()}
    assert min(ys[1]) == pytest.approx(10, abs=0.1)
    # Half of what is neutral (0.9 before) and happy (0.9 after) is reached after a half-life of a quarter of a second.
    begins = float(shape.areas[0].removeprefix("M").split()[0])
    assert begins / COLUMNS * 10 == pytest.approx(5.2, abs=0.3)
    part = shape_of(timeline.lanes[0], 6, 8, LaneFrame(0, 0, COLUMNS, 100))
    assert set(part.areas) == {0}


@given(
    st.lists(st.tuples(st.floats(0.05, 5), st.floats(0, 1)), min_size=1, max_size=30),
    st.integers(1, 50),
)
def test_a_drawn_lane_stays_in_its_frame(steps: list[tuple[float, float]], columns: int):
    recorder, t = Recorder(thumbnails=False), 0.0
    for wait, p in steps:
        recorder.add(frame(t, {1: p}))
        t += wait
    timeline = recorder.timeline()
    (lane,) = timeline.lanes
    assert (lane.start_s <= lane.end_s).all()
    assert (lane.end_s[:-1] <= lane.start_s[1:]).all()
    assert lane.end_s[-1] <= timeline.end_s + 1e-9
    shape = shape_of(lane, timeline.start_s, timeline.end_s, LaneFrame(10, 20, 100, 40), columns)
    for x, y in re.findall(r"([\d.e+-]+) ([\d.e+-]+)", "".join(shape.areas.values()) + shape.trace):
        assert 9.9 <= float(x) <= 110.1
        assert 19.9 <= float(y) <= 60.1


def test_times_are_written_as_minutes_and_seconds():
    assert [clock_time(t) for t in (0, 9.6, 90, 3599.7, 3723)] == ["0:00", "0:10", "1:30", "1:00:00", "1:02:03"]
    assert [clock_time(t, 1) for t in (0.25, 59.96, 61.5)] == ["0:00.2", "1:00.0", "1:01.5"]
    assert ticks(0, 20, 6) == [0, 5, 10, 15, 20]
    assert ticks(93, 121, 6) == [100, 110, 120]
    assert ticks(0, 7200, 6) == [0, 1800, 3600, 5400, 7200]


def test_the_svg_is_a_whole_figure_that_loads_nothing():
    timeline = record({1: (0, 20), 2: (4, 20)}, seconds=20)
    root = ET.fromstring(to_svg(timeline))
    texts = [t.text or "" for t in root.iter(SVG + "text")]
    for word in ("v.mp4", *CLASSES, "track 1", "track 2", "0:00", "0:20", "time (minutes:seconds)"):
        assert word in texts
    assert texts.count("happy") >= 1 + 4  # the legend, and two long episodes of each
    links = [value for node in root.iter() for name, value in node.attrib.items() if name.endswith("href")]
    assert not links
    assert not list(root.iter(SVG + "script"))


def test_a_tall_figure_is_drawn_as_finely_below_as_above_and_has_its_times_at_both_ends():
    root = ET.fromstring(to_svg(record(dict.fromkeys(range(1, 61), (0, 20)), seconds=20)))
    assert len({p.attrib["d"] for p in root.iter(SVG + "path") if p.attrib.get("stroke-linejoin")}) == 1
    assert [t.text for t in root.iter(SVG + "text")].count("0:20") == 2


def test_a_long_name_is_cut_in_the_figure():
    root = ET.fromstring(to_svg(record({1: (0, 10)}, source="long " * 60)))
    assert any((t.text or "").endswith("…") for t in root.iter(SVG + "text"))


class Outline(HTMLParser):
    """Ids, tags in the order they open, and whether they close in order."""

    VOID = ("meta", "img", "br", "link", "input")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_stands_alone_and_is_complete_without_its_script():
    timeline = record({1: (0, 20), 2: (4, 20)}, seconds=20)
    html = to_html(timeline)
    assert not re.search(r"(?:https?:)?//[a-z]|<script src|<link|@import|url\(", html)
    outline = Outline(html)
    assert outline.open == []
    assert len(outline.ids) == len(set(outline.ids))
    assert {"track-1", "track-2", "timeline", "timeline-data"} <= set(outline.ids)
    figure = html[html.index('<div id="timeline"') : html.index("<script")]
    assert figure.count('class="c0"') == 2
    assert figure.count("<span>happy</span>") == 4
    assert "0:05" in figure
    assert figure.count("data-from=") == len(timeline.episodes)
    assert html.count('<th scope="row"') == 2 + len(timeline.episodes)


def test_the_script_gets_the_series_as_it_is():
    timeline = record({1: (1, 9), 2: (0, 10)})
    html = to_html(timeline)
    found = re.search(r'id="timeline-data">(.*?)</script>', html, re.DOTALL)
    assert found
    data = json.loads(found.group(1))
    assert [lane["track"] for lane in data["lanes"]] == [2, 1]
    lane = timeline.lanes[1]
    start = np.frombuffer(base64.b64decode(data["lanes"][1]["start"]), "<u4") / 1000 + data["start"]
    p = np.frombuffer(base64.b64decode(data["lanes"][1]["p"]), np.uint8).reshape(-1, 3) / 250
    np.testing.assert_allclose(start, lane.start_s, atol=0.001)
    np.testing.assert_allclose(p, lane.probabilities, atol=0.0021)
    assert data["episodes"] == [
        [e.track, CLASSES.index(e.label), round(e.start_s, 3), round(e.end_s, 3)] for e in timeline.episodes
    ]


def test_long_lists_are_cut_and_say_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mien.report.timeline_page.MAX_ROWS", 2)
    timeline = record({1: (0, 40)}, seconds=40)
    html = to_html(timeline)
    assert html.count("data-from=") == 2
    assert f"The longest 2 of {len(timeline.episodes)}; an ELAN file of the same run holds all." in html


def test_names_cannot_break_the_figure_or_the_page():
    recorder = Recorder()
    name = "</script><b>&\"'\x01\ud800.mp4"
    classes = ("</script><i>", "a&b", "\x02")
    for i in range(20):
        reading = Reading(name, i, i / 5, Face((0, 0, 4, 4), 0.9), Expression(classes, (0.9, 0.1, 0.0)), 1)
        recorder.add(FrameReadings(Frame(BLANK, name, i, i / 5), (reading,)))
    timeline = recorder.timeline()
    ET.fromstring(to_svg(timeline).encode())
    html = to_html(timeline)
    html.encode()
    assert "<b>&" not in html
    assert "<i>" not in html.replace('<div class="map"><i></i></div>', "")
    assert html.count("</script>") == 2
    assert Outline(html).open == []


def test_the_suffix_says_what_is_written(tmp_path: Path):
    timeline = record({1: (0, 10)})
    write_timeline(timeline, tmp_path / "a.svg")
    write_timeline(timeline, tmp_path / "a.HTML")
    assert (tmp_path / "a.svg").read_text(encoding="utf-8") == to_svg(timeline)
    assert (tmp_path / "a.HTML").read_text(encoding="utf-8") == to_html(timeline)
    with pytest.raises(OutputError, match=r"a\.png: expected a timeline's name that ends in \.html"):
        write_timeline(timeline, tmp_path / "a.png")
    with pytest.raises(OutputError, match="exists already"):
        write_timeline(timeline, tmp_path / "a.svg")
    write_timeline(record({}), tmp_path / "a.svg", overwrite=True)
    assert "No face was followed." in (tmp_path / "a.svg").read_text(encoding="utf-8")
    with pytest.raises(OutputError, match="cannot be written"):
        write_timeline(timeline, tmp_path / "none/a.svg")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.HTML", "a.svg"]
