"""Probabilities over time -> what a face shows, from when to when.

For display and events only: measurements take the probabilities as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mien.records import FrameReadings


@dataclass(frozen=True, slots=True)
class Episode:
    """One track shows one expression from `start_s` to `end_s`, seconds; `peak` is its highest probability, 0..1."""

    track: int
    label: str
    start_s: float
    end_s: float
    peak: float

    def __str__(self) -> str:
        return f"track {self.track} shows {self.label} from {self.start_s:.1f} s to {self.end_s:.1f} s"


class Smoother:
    """Exponential smoothing in time, one memory a track: what lies `half_life_s` back counts half; 0 switches it off.

    Time, not frames: the same video at another frame rate, or with frames left out, is smoothed alike.
    """

    def __init__(self, half_life_s: float = 0.25) -> None:
        if half_life_s < 0:
            raise ValueError(f"expected half_life_s of at least 0, found {half_life_s:g}")
        self.half_life_s = half_life_s
        self._memory: dict[int, tuple[float, dict[str, float]]] = {}

    def update(self, track: int, time_s: float, probabilities: Mapping[str, float]) -> dict[str, float]:
        """The smoothed probabilities of `track` at `time_s`; they sum to what `probabilities` sum to."""
        then, before = self._memory.get(track, (time_s, dict(probabilities)))
        keep = 0.5 ** ((time_s - then) / self.half_life_s) if self.half_life_s else 0.0
        now = {name: keep * before[name] + (1 - keep) * value for name, value in probabilities.items()}
        self._memory[track] = (time_s, now)
        return now

    def forget(self, track: int) -> None:
        """The track is over: what never ends must not remember all that was."""
        self._memory.pop(track, None)


@dataclass(slots=True)
class _OpenEpisode:
    """An expression being shown, or (`label` None) none."""

    last_s: float
    label: str | None = None
    start_s: float = 0.0
    held_s: float = 0.0
    peak: float = 0.0


class EpisodeFinder:
    """Finds episodes with hysteresis, so that a probability that trembles around a limit makes one, not twenty.

    Args:
        enter: probability at which an episode begins.
        leave: probability below which it ends; `enter + leave` must be at least 1, so that a face shows one
            expression at a time.
        min_s: shorter episodes are dropped.
        gap_s: a track unseen for longer ends its episode where it was last seen.
    """

    def __init__(self, *, enter: float = 0.6, leave: float = 0.4, min_s: float = 0.2, gap_s: float = 1.0) -> None:
        if not (0 < leave <= enter <= 1 and enter + leave >= 1):
            raise ValueError(f"expected 0 < leave <= enter <= 1 and enter + leave >= 1, found {enter:g} and {leave:g}")
        self.enter, self.leave, self.min_s, self.gap_s = enter, leave, min_s, gap_s
        self._open: dict[int, _OpenEpisode] = {}

    def update(self, track: int, time_s: float, probabilities: Mapping[str, float]) -> list[Episode]:
        """Take in one track's (smoothed) probabilities; returns the episode that ended by it, if one did."""
        ended: list[Episode] = []
        now = self._open.get(track)
        if now and time_s - now.last_s > self.gap_s:
            ended += self.end(track)
            now = None
        if now is None:
            now = self._open[track] = _OpenEpisode(time_s)
        now.last_s = time_s
        if now.label and probabilities[now.label] < self.leave:
            ended += self._close(track, now)
        best = max(probabilities, key=lambda name: probabilities[name])
        if now.label is None and probabilities[best] >= self.enter:
            now.label, now.start_s, now.peak = best, time_s, 0.0
        if now.label:
            now.held_s, now.peak = time_s, max(now.peak, probabilities[now.label])
        return ended

    def showing(self, track: int) -> tuple[str, float] | None:
        """The expression that a track shows at present, and since when; None if none for certain."""
        now = self._open.get(track)
        return (now.label, now.start_s) if now and now.label else None

    def end(self, track: int) -> list[Episode]:
        """The track is over: returns the episode that was open, if one was."""
        now = self._open.pop(track, None)
        return self._close(track, now) if now else []

    def end_all(self) -> list[Episode]:
        """The video is over: the episodes that were open, by track."""
        return [episode for track in sorted(self._open) for episode in self.end(track)]

    def _close(self, track: int, now: _OpenEpisode) -> list[Episode]:
        if now.label is None:
            return []
        episode = Episode(track, now.label, now.start_s, now.held_s, now.peak)
        now.label = None
        return [episode] if episode.end_s - episode.start_s >= self.min_s else []


class Observer:
    """Follows one video: takes its readings as they come, and keeps the episodes.

    Attributes:
        episodes: those that have ended, in the order of their ends.
    """

    def __init__(self, smoother: Smoother | None = None, finder: EpisodeFinder | None = None) -> None:
        self.smoother = smoother or Smoother()
        self.finder = finder or EpisodeFinder()
        self.episodes: list[Episode] = []

    def add(self, result: FrameReadings) -> None:
        """Take in a frame; faces without a track are passed over."""
        time_s = result.frame.time_s
        for reading in result.readings:
            if reading.track is not None and time_s is not None:
                smoothed = self.smoother.update(reading.track, time_s, reading.expression.as_dict())
                self.episodes += self.finder.update(reading.track, time_s, smoothed)

    def finish(self) -> list[Episode]:
        """The video is over: all its episodes, by track, then by time."""
        self.episodes += self.finder.end_all()
        return sorted(self.episodes, key=lambda e: (e.track, e.start_s))


@dataclass(frozen=True, slots=True)
class Total:
    """How long and how often one track shows one expression; times in seconds."""

    track: int
    label: str
    seconds: float
    episodes: int
    first_s: float
    last_s: float


def totals(episodes: Iterable[Episode]) -> list[Total]:
    """One row for each track and expression that occurs, by track, the longest shown first."""
    groups: dict[tuple[int, str], list[Episode]] = {}
    for episode in episodes:
        groups.setdefault((episode.track, episode.label), []).append(episode)
    rows = [
        Total(
            track,
            label,
            sum(e.end_s - e.start_s for e in group),
            len(group),
            min(e.start_s for e in group),
            max(e.end_s for e in group),
        )
        for (track, label), group in groups.items()
    ]
    return sorted(rows, key=lambda row: (row.track, -row.seconds, row.label))
