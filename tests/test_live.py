"""`mien live`: the newest frame is read, at its own pace, and what is shown is told as it happens."""

from __future__ import annotations

import _thread
import json
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.cli import live_view
from mien.detect import StubDetector
from mien.errors import MediaError
from mien.live import Live, LiveFrame, open_live, paced
from mien.media.frame_thread import FrameThread
from mien.model.bundle import Bundle
from mien.pipeline import Recognizer
from mien.records import Expression, Face, Failure, Frame, FrameReadings, Image, Reading
from tests.media.test_streams import SECRET, film

Command = Callable[..., tuple[int, str, str]]
BOX = (4.0, 4.0, 44.0, 44.0)


class Clock:
    """Moves when it is told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


def frame(index: int, time_s: float, level: int = 255) -> Frame:
    return Frame(np.full((48, 48, 3), level, np.uint8), "x", index, time_s)


class Slow:
    """A detector that takes half a second, in which five more frames come, a tenth of a second apart."""

    name = "slow"

    def __init__(self, clock: Clock, frames: int) -> None:
        self.clock, self.total, self.newest = clock, frames, None
        self._tickets = threading.Semaphore(1)

    def frames(self) -> Generator[Frame | Failure]:
        for i in range(self.total):
            self._tickets.acquire()
            yield frame(i, i / 10)

    def detect(self, image: Image) -> list[Face]:
        assert isinstance(self.newest, FrameThread)
        for _ in range(5):
            self.clock.now += 0.1
            arrived = self.newest.arrived
            self._tickets.release()
            while self.newest.arrived == arrived < self.total:
                time.sleep(0.001)
        return [Face(BOX, 0.9)]


def test_a_slow_reader_drops_frames_and_does_not_fall_behind(tiny_bundle: Bundle):
    clock = Clock()
    slow = Slow(clock, 31)
    with closing(FrameThread(slow.frames(), clock=clock)) as slow.newest:
        live = Live(Recognizer(tiny_bundle.path, slow), slow.newest, clock=clock)
        moments = [m for m in live.run() if isinstance(m, LiveFrame)]
    assert [m.result.frame.index for m in moments] == [0, 5, 10, 15, 20, 25, 30]
    assert live.dropped == 24
    assert live.frames == 7
    # Each was read as soon as the one before it was done: it took half a second from its arrival, not more and more.
    assert [m.latency_s for m in moments] == pytest.approx([0.5] * 7)
    assert live.latency_s == pytest.approx(0.5)
    assert live.rate == pytest.approx(2.0)


class Told:
    """In place of a recognizer: what it is told that faces show, moment by moment."""

    def __init__(self, script: list[dict[int, float]]) -> None:
        self.script = script

    def read_all(
        self, frames: Iterator[Frame | Failure], *, detect_every: int = 1, ahead: bool = True
    ) -> Iterator[FrameReadings | Failure]:
        for item in frames:
            if isinstance(item, Failure):
                yield item
                continue
            readings = [
                Reading("x", item.index, item.time_s, Face(BOX, 0.9), Expression(("happy", "sad"), (p, 1 - p)), track)
                for track, p in self.script[item.index].items()
            ]
            yield FrameReadings(item, tuple(readings))


def told(script: list[dict[int, float]]) -> tuple[list[LiveFrame], Live]:
    items = (frame(i, i / 10) for i in range(len(script)))
    with closing(FrameThread(items, keep=len(script))) as newest:  # type: ignore[arg-type]
        live = Live(Told(script), newest)  # type: ignore[arg-type]
        return [m for m in live.run() if isinstance(m, LiveFrame)], live


def test_what_is_shown_since_when_and_for_how_long():
    script = [{1: 0.5}] * 5 + [{1: 1.0, 2: 0.0}] * 20 + [{2: 0.0}] * 15
    moments, live = told(script)
    assert moments[3].faces[0].since_s is None  # neither for certain
    one, two = moments[20].faces
    assert (one.track, one.label, two.track, two.label) == (1, "happy", 2, "sad")
    assert one.since_s == pytest.approx(0.6, abs=0.21)  # smoothed, so a little later
    assert two.since_s == pytest.approx(0.5)
    assert 0.9 < one.probability <= 1
    assert [m.gone for m in moments if m.gone] == [(1,)]
    sad, happy = live.finish()
    assert (sad.label, sad.episodes, sad.faces) == ("sad", 1, 1)
    assert sad.seconds == pytest.approx(3.4)
    assert happy.seconds == pytest.approx(1.8, abs=0.21)
    assert live.faces == 2


def test_what_never_ends_does_not_grow():
    script = [{1 + i // 15: 1.0} for i in range(600)]  # a new face every second and a half
    _, live = told(script)
    (total,) = live.finish()
    assert total.faces == live.faces == 40
    kept = [live._steady._places, live._steady._smoother._memory, live._finder._open, live._seen, live._labels]
    assert [len(each) for each in kept] == [0] * 5


def test_it_ends_on_time_even_if_nothing_more_comes():
    over = threading.Event()

    def items() -> Generator[Frame | Failure]:
        yield frame(0, 0.0)
        over.wait(20)

    clock = Clock()
    calls: list[float] = []

    def idle() -> bool:
        calls.append(clock.now)
        clock.now += 1.0
        return True

    with closing(FrameThread(items(), clock=clock, stop=over.set)) as newest:
        live = Live(Told([{1: 1.0}]), newest, seconds=3.0, clock=clock, idle=idle)  # type: ignore[arg-type]
        assert len(list(live.run())) == 1
    assert calls == [0.0, 1.0, 2.0]
    assert live.quiet_s == pytest.approx(3.0)


def test_a_closed_window_ends_it():
    over = threading.Event()

    def items() -> Generator[Frame | Failure]:
        yield frame(0, 0.0)
        over.wait(20)

    with closing(FrameThread(items(), stop=over.set)) as newest:
        assert len(list(Live(Told([{}]), newest, idle=lambda: False).run())) == 1  # type: ignore[arg-type]


def test_a_recording_is_played_at_its_own_pace():
    clock = Clock()
    items = [frame(0, 2.0), Failure("x", 1, "damaged"), frame(1, 2.5), frame(2, 4.0)]
    begun = []
    for item in paced(iter(items), clock.wait, clock):
        begun.append(clock.now)
        clock.now += 0.2  # reading takes time, and is not added to the pace
        assert item in items
    assert begun == pytest.approx([0.0, 0.2, 0.5, 2.0])
    clock = Clock()
    assert [clock.now for _ in paced(iter(items), clock.wait, clock, lambda: False)] == [0.0] * 4


def test_what_cannot_be_played_is_refused(astronaut: Path, tmp_path: Path):
    with pytest.raises(MediaError, match="mien predict"):
        open_live(str(astronaut.parent))
    with closing(open_live(str(astronaut))) as newest, pytest.raises(MediaError, match="a still picture"):
        list(newest)
    with pytest.raises(MediaError, match="no such file"):
        open_live(str(tmp_path / "none.mp4"))


# --- the command


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory, group: Path) -> Path:
    """Three people, panned over for three seconds."""
    return film(tmp_path_factory.mktemp("live") / "clip.mp4", group, 3.0, width=480)


def test_a_file_is_read_live_as_json_and_rows(mien: Command, clip: Path, tmp_path: Path):
    code, out, err = mien("live", clip, "--seconds", "1", "--json", "--out", tmp_path / "rows.jsonl", "--threads", "1")
    assert code == 0, err
    rows = [json.loads(line) for line in out.splitlines()]
    assert {row["source"] for row in rows} == {str(clip)}
    times = [row["time_s"] for row in rows]
    assert times == sorted(times)
    assert max(times) < 1.0
    assert {row["track"] for row in rows} >= {1, 2, 3}
    assert {row["label"] for row in rows} == {"happy"}
    assert out == (tmp_path / "rows.jsonl").read_text()
    assert "happy" in err
    assert "rows in" in err


def test_without_a_terminal_a_line_is_printed_for_each_change(mien: Command, clip: Path):
    code, out, err = mien("live", clip, "--seconds", "0.6", "--threads", "1", "--detect-every", "2")
    assert code == 0, err
    lines = out.splitlines()
    assert len(lines) == 3
    assert {tuple(line.split()[2:5]) for line in lines} == {("face", str(n), "happy") for n in (1, 2, 3)}
    assert "frames read" in err


def test_on_a_terminal_there_is_a_table(mien: Command, clip: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    for name, value in {"TERM": "xterm", "COLUMNS": "100", "LINES": "30"}.items():
        monkeypatch.setenv(name, value)
    code, out, err = mien("live", clip, "--seconds", "2", "--threads", "1")
    assert code == 0, err
    for text in ("frames/s", "latency", "dropped", "shown for", "happy", "━"):
        assert text in out
    assert "seconds  episodes" in out  # the summary


def test_ctrl_c_ends_with_a_summary(mien: Command, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shown = live_view.ChangeLines.show

    def show(self: live_view.ChangeLines, moment: LiveFrame | Failure) -> None:
        shown(self, moment)
        if isinstance(moment, LiveFrame) and (moment.result.frame.time_s or 0) > 0.5:
            _thread.interrupt_main()

    monkeypatch.setattr(live_view.ChangeLines, "show", show)
    code, _, err = mien("live", clip, "--out", tmp_path / "rows.csv", "--threads", "1")
    assert code == 0, err
    assert "happy" in err
    assert "frames read" in err
    assert len((tmp_path / "rows.csv").read_text().splitlines()) > 3


def test_what_cannot_be_read_is_an_error(mien: Command, tmp_path: Path):
    code, out, err = mien("live", "camera:999999")
    assert (code, out) == (2, "")
    assert "camera:999999: no such camera" in err or "cannot be opened" in err
    code, _, err = mien("live", f"rtsp://ann:{SECRET}@127.0.0.1:9/x")
    assert code == 2
    assert SECRET not in err
    (tmp_path / "broken.mp4").write_bytes(b"no video" * 99)
    code, _, err = mien("live", tmp_path / "broken.mp4", "--out", tmp_path / "rows.csv")
    assert code == 2
    assert "as a video" in err
    assert mien("live", tmp_path / "broken.mp4", "--seconds", "0")[0] == 2


def test_a_source_that_is_lost_is_exit_code_1(mien: Command, group: Path, tmp_path: Path, tiny_bundle: Bundle):
    data = film(tmp_path / "whole.mkv", group, 3.0).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 3])
    code, _, err = mien("live", tmp_path / "cut.mkv", "--model", tiny_bundle.path, "--detector", "whole")
    assert code == 1
    assert "truncated" in err


def test_the_detector_takes_its_options(mien: Command, tmp_path: Path):
    clip = tmp_path / "clip.mp4"
    assert "model" in mien("live", clip, "--detector", "opencv-yunet")[2]
    code, _, err = mien("live", clip, "--detector", "opencv-yunet", "--detector-model", tmp_path / "none.onnx")
    assert (code, "none.onnx" in err) == (2, True)
    code, _, err = mien("live", clip, "--detector", "whole", "--min-score", "0.5")
    assert (code, "takes no min_score" in err) == (2, True)


# --- the window


def test_a_window_needs_an_opencv_that_has_them_and_a_display(monkeypatch: pytest.MonkeyPatch, mien: Command):
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:                           NONE\n")
    code, _, err = mien("live", "clip.mp4", "--window")
    assert code == 2
    assert "pip uninstall opencv-python-headless" in err
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:                           QT5\n")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    code, _, err = mien("live", "clip.mp4", "--window")
    assert code == 2
    assert "no display" in err


def test_q_closes_the_window_and_ends_it(monkeypatch: pytest.MonkeyPatch, mien: Command, clip: Path):
    drawn: list[Image] = []
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:                           QT5\n")
    monkeypatch.setenv("DISPLAY", ":9")
    monkeypatch.setattr(cv2, "namedWindow", lambda *args: None)
    monkeypatch.setattr(cv2, "imshow", lambda title, image: drawn.append(image))
    monkeypatch.setattr(cv2, "waitKey", lambda ms: ord("q") if len(drawn) == 2 else -1)
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *args: 1.0)
    code, _, err = mien("live", clip, "--window", "--threads", "1")
    assert code == 0, err
    assert len(drawn) == 2
    assert drawn[0].shape[1] == 480


def test_a_stub_detector_is_enough_for_a_live_of_ones_own(tiny_bundle: Bundle, clip: Path):
    with closing(open_live(str(clip), seconds=0.3)) as newest:
        live = Live(Recognizer(tiny_bundle.path, StubDetector([Face(BOX, 0.9)])), newest, seconds=0.3)
        moments = list(live.run())
    assert moments
    assert all(isinstance(m, LiveFrame) and len(m.faces) == 1 for m in moments)
