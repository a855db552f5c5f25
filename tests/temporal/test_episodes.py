"""What a face shows, from when to when."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.errors import OutputError
from mien.output.eaf import write_elan
from mien.records import Expression, Face, Frame, FrameReadings, Reading
from mien.temporal.episodes import Episode, EpisodeFinder, Observer, Smoother, Total, totals


def happy(p: float) -> dict[str, float]:
    return {"happy": p, "neutral": 1 - p}


def run(finder: EpisodeFinder, values: list[float], step: float = 0.1, track: int = 1) -> list[Episode]:
    found = [e for i, p in enumerate(values) for e in finder.update(track, i * step, happy(p))]
    return found + finder.end_all()


def test_a_smile_is_one_episode_with_its_times():
    values = [0.1] * 10 + [0.9] * 20 + [0.1] * 10
    found = run(EpisodeFinder(), values)
    assert [e.label for e in found] == ["neutral", "happy", "neutral"]
    smile = found[1]
    assert (smile.track, smile.peak) == (1, 0.9)
    assert (smile.start_s, smile.end_s) == (pytest.approx(1.0), pytest.approx(2.9))
    assert str(smile) == "track 1 shows happy from 1.0 s to 2.9 s"


def test_trembling_around_the_limit_is_one_episode():
    values = [0.65, 0.55, 0.62, 0.45, 0.61, 0.58] * 10
    assert [e.label for e in run(EpisodeFinder(), values)] == ["happy"]
    assert len(run(EpisodeFinder(enter=0.6, leave=0.6), values)) == 0  # without hysteresis each is too short to count


def test_a_track_that_is_gone_ends_where_it_was_last_seen():
    finder = EpisodeFinder(gap_s=1.0)
    for time_s in (0.0, 0.5, 1.0):
        assert finder.update(7, time_s, happy(0.9)) == []
    assert finder.update(7, 5.0, happy(0.9)) == [Episode(7, "happy", 0.0, 1.0, 0.9)]


def test_tracks_do_not_mix():
    finder, smoother = EpisodeFinder(), Smoother()
    for i in range(10):
        assert smoother.update(1, i * 0.1, happy(1.0)) == happy(1.0)
        assert smoother.update(2, i * 0.1, happy(0.0)) == happy(0.0)
        finder.update(1, i * 0.1, happy(1.0))
        finder.update(2, i * 0.1, happy(0.0))
    assert [(e.track, e.label) for e in finder.end_all()] == [(1, "happy"), (2, "neutral")]


def test_limits_that_let_two_expressions_overlap_are_refused():
    with pytest.raises(ValueError, match=r"enter \+ leave >= 1, found 0\.5 and 0\.3"):
        EpisodeFinder(enter=0.5, leave=0.3)
    with pytest.raises(ValueError, match="at least 0, found -1"):
        Smoother(-1)


def test_a_step_is_half_way_after_the_half_life_at_any_frame_rate():
    for steps in (1, 5, 40):
        smoother = Smoother(half_life_s=0.5)
        smoother.update(1, 0.0, happy(0.0))
        for time_s in np.linspace(0, 0.5, steps + 1)[1:]:
            now = smoother.update(1, float(time_s), happy(1.0))
        assert now["happy"] == pytest.approx(0.5)
    off = Smoother(0)
    off.update(1, 0.0, happy(0.0))
    assert off.update(1, 0.01, happy(1.0)) == happy(1.0)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_episodes_of_a_track_do_not_overlap_and_smoothing_keeps_probabilities(values: list[float]):
    smoother = Smoother()
    for i, p in enumerate(values):
        now = smoother.update(1, i * 0.1, happy(p))
        assert sum(now.values()) == pytest.approx(1)
        assert min(now.values()) >= 0
    found = run(EpisodeFinder(min_s=0), values)
    for a, b in pairwise(found):
        assert a.start_s <= a.end_s < b.start_s


EPISODES = [
    Episode(2, "sad", 0.5, 1.5, 0.8),
    Episode(1, "happy", 0.0, 1.0, 0.9),
    Episode(1, "neutral", 1.1, 1.4, 0.7),
    Episode(1, "happy", 1.5, 4.0, 0.95),
]


def test_totals_say_how_long_and_how_often():
    assert totals(EPISODES) == [
        Total(1, "happy", 3.5, 2, 0.0, 4.0),
        Total(1, "neutral", pytest.approx(0.3), 1, 1.1, 1.4),  # type: ignore[arg-type]
        Total(2, "sad", 1.0, 1, 0.5, 1.5),
    ]
    assert totals([]) == []


def test_an_observer_follows_everybody_in_a_video():
    observer = Observer()
    for i in range(40):
        time_s = i * 0.1
        smile = 0.95 if 10 <= i < 30 else 0.05
        frame = Frame(np.zeros((4, 4, 3), np.uint8), "v", i, time_s)
        readings = [
            Reading("v", i, time_s, Face((0, 0, 4, 4), 0.9), Expression(("happy", "neutral"), (p, 1 - p)), track)
            for track, p in ((1, smile), (2, 0.02), (None, 0.99))
        ]
        observer.add(FrameReadings(frame, tuple(readings)))
    found = observer.finish()
    assert [(e.track, e.label) for e in found] == [(1, "neutral"), (1, "happy"), (1, "neutral"), (2, "neutral")]
    assert found[1].start_s == pytest.approx(1.0, abs=0.4)  # the smoothing's delay
    assert found[1].end_s == pytest.approx(3.0, abs=0.4)


def test_elan_gets_a_tier_a_track_with_times_in_milliseconds(tmp_path: Path):
    (tmp_path / "video").mkdir()
    write_elan(EPISODES, tmp_path / "video/a b.mp4", tmp_path / "a.eaf")
    root = ET.parse(tmp_path / "a.eaf").getroot()
    times = {slot.get("TIME_SLOT_ID"): int(slot.get("TIME_VALUE", "")) for slot in root.iter("TIME_SLOT")}
    assert list(times.values()) == sorted(times.values())
    found = {
        (
            tier.get("TIER_ID"),
            a.findtext("ANNOTATION_VALUE"),
            times[a.get("TIME_SLOT_REF1")],
            times[a.get("TIME_SLOT_REF2")],
        )
        for tier in root.iter("TIER")
        for a in tier.iter("ALIGNABLE_ANNOTATION")
    }
    assert found == {(f"track {e.track}", e.label, round(1000 * e.start_s), round(1000 * e.end_s)) for e in EPISODES}
    media = root.find("HEADER/MEDIA_DESCRIPTOR")
    assert media is not None
    assert media.get("RELATIVE_MEDIA_URL") == "./video/a b.mp4"
    assert media.get("MIME_TYPE") == "video/mp4"
    types = {t.get("LINGUISTIC_TYPE_ID") for t in root.iter("LINGUISTIC_TYPE")}
    assert {t.get("LINGUISTIC_TYPE_REF") for t in root.iter("TIER")} <= types

    with pytest.raises(OutputError, match="exists already"):
        write_elan([], tmp_path / "a.mp4", tmp_path / "a.eaf")
    write_elan([], tmp_path / "a.mp4", tmp_path / "a.eaf", overwrite=True)
    with pytest.raises(OutputError, match="cannot be written"):
        write_elan([], tmp_path / "a.mp4", tmp_path / "none/a.eaf")
