"""A run: what it counts, what its sinks are told, and how it ends."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from mien.batch import Job
from mien.errors import OutputError
from mien.media import list_items
from mien.output.sink import Sink
from mien.records import Failure, Frame, FrameReadings
from mien.run import Counts, Run
from tests.progress import Told

JOB = Job("default", "whole", threads=1)


class Recorder:
    """A sink that remembers; `broken` names the method that fails."""

    def __init__(self, calls: list[str], name: str, broken: str = "") -> None:
        self.calls, self.name, self.broken = calls, name, broken
        self.items: list[int] = []
        self.error: BaseException | None = None

    def add(self, item: int, result: FrameReadings | Failure) -> None:
        self.items.append(item)
        if self.broken == "add":
            raise OutputError("no room")

    def close(self, error: BaseException | None = None) -> None:
        self.calls.append(self.name)
        self.error = error
        if self.broken == "close":
            raise OutputError("no room")


def read(folder: Path, *sinks: Sink, rows: Path | None = None) -> None:
    with Run(list_items([str(folder)]), JOB) as run:
        for sink in sinks:
            run.add_sink(sink)
        if rows:
            run.add_rows(rows)
        run.read()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "in"
    root.mkdir()
    for number in range(3):
        Image.new("RGB", (48, 48), (80 * number, 80, 80)).save(root / f"{number}.png")
    (root / "9.png").write_bytes(b"no picture")
    return root


def test_results_go_to_every_sink_and_are_counted(folder: Path):
    calls: list[str] = []
    told: list[str] = []
    first, second, bar = Recorder(calls, "first"), Recorder(calls, "second"), Told()
    with Run(list_items([str(folder)]), JOB, tell=told.append) as run:
        run.add_sink(first)
        run.add_sink(second)
        counts = run.read(bar)
    assert counts == Counts(pictures=3, faces=3, failed=1)
    assert counts.exit_code == 1
    assert first.items == second.items == [0, 1, 2, 3]
    assert calls == ["second", "first"]
    assert len(told) == 1
    assert "9.png" in told[0]
    assert bar.steps[0] == ("reading", 0, 4)
    assert bar.steps[-1] == ("reading", 3, 4)


@pytest.mark.parametrize(
    ("counts", "code"),
    [
        (Counts(), 0),
        (Counts(pictures=1, copies=1), 0),
        (Counts(pictures=1, failed=1), 1),
        (Counts(pictures=1, unread=1), 1),
        (Counts(failed=1), 2),
        (Counts(unread=1), 2),
    ],
)
def test_exit_codes(counts: Counts, code: int):
    assert counts.exit_code == code


def test_what_ends_a_run_early_is_told_to_every_sink(folder: Path):
    calls: list[str] = []
    good, bad = Recorder(calls, "good"), Recorder(calls, "bad", broken="add")
    with pytest.raises(OutputError, match="no room"):
        read(folder, good, bad)
    assert isinstance(good.error, OutputError)
    assert calls == ["bad", "good"]


def test_a_sink_that_cannot_close_ends_the_run_with_its_error(folder: Path):
    calls: list[str] = []
    good, bad = Recorder(calls, "good"), Recorder(calls, "bad", broken="close")
    with pytest.raises(OutputError, match="no room"):
        read(folder, good, bad)
    assert isinstance(good.error, OutputError)


def test_rows_are_kept_and_the_run_goes_on(folder: Path, tmp_path: Path):
    out = tmp_path / "rows.csv"

    class Stop:
        def add(self, item: int, result: FrameReadings | Failure) -> None:
            if item == 2:
                raise KeyboardInterrupt

        def close(self, error: BaseException | None = None) -> None:
            pass

    with pytest.raises(KeyboardInterrupt):
        read(folder, Stop(), rows=out)
    assert not out.exists()
    with Run(list_items([str(folder)]), JOB) as run:
        assert not run.is_finished(out)
        assert run.add_rows(out, resume=True).items == 2
        assert run.read() == Counts(pictures=3, faces=3, failed=1)  # of the whole run
    read(folder, rows=tmp_path / "whole.csv")
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_pictures_that_come_from_other_processes_have_no_pixels(folder: Path):
    frames: list[Frame] = []

    class Keep:
        def add(self, item: int, result: FrameReadings | Failure) -> None:
            if isinstance(result, FrameReadings):
                frames.append(result.frame)

        def close(self, error: BaseException | None = None) -> None:
            pass

    with Run(list_items([str(folder)]), JOB, workers=2) as run:
        run.add_sink(Keep())
        run.read()
    assert [frame.image for frame in frames] == [None] * 3
    with pytest.raises(ValueError, match=r"0\.png: the picture of frame 0 has been let go"):
        _ = frames[0].pixels


def test_a_finished_run_is_known_and_keeps_its_exit_code(folder: Path, tmp_path: Path):
    out = tmp_path / "rows.csv"
    read(folder, rows=out)
    with Run(list_items([str(folder)]), JOB) as run:
        assert run.is_finished(out)
    assert run.counts == Counts(pictures=3, faces=3, failed=1)
    assert run.counts.exit_code == 1
    other = Run(list_items([str(folder)]), replace(JOB, detector="yunet"))
    with pytest.raises(OutputError, match=r'rows\.csv: rows of another run: detector was "whole", is "yunet"'):
        other.is_finished(out)
    with pytest.raises(OutputError, match=r'rows of another run: device was "auto", is "cpu"'):
        Run(list_items([str(folder)]), replace(JOB, device="cpu")).is_finished(out)
    out.write_text(out.read_text().replace("0.png", "7.png"))
    again = Run(list_items([str(folder)]), JOB)
    with pytest.raises(OutputError, match="was changed since its run wrote it"):
        again.is_finished(out)
    (tmp_path / "rows.csv.run").unlink()
    with pytest.raises(OutputError, match=r"rows\.csv\.run does not say of which run"):
        again.is_finished(out)


def test_what_was_seen_is_part_of_what_is_resumed(folder: Path, tmp_path: Path):
    """A, B, a copy of A, C, copies of A and B: stopped at each of them, no copy is read again."""
    copies = tmp_path / "copies"
    copies.mkdir()
    for number, original in enumerate("010201"):
        shutil.copy(folder / f"{original}.png", copies / f"{number}.png")
    for stop in range(1, 6):
        out = tmp_path / f"{stop}.csv"
        items = list_items([str(copies)])

        class Stop:
            def add(self, item: int, result: FrameReadings | Failure, stop: int = stop) -> None:
                if item >= stop:
                    raise KeyboardInterrupt

            def close(self, error: BaseException | None = None) -> None:
                pass

        with suppress(KeyboardInterrupt), Run(items, JOB, dedupe=True) as run:
            run.add_sink(Stop())
            run.add_rows(out)
            run.read()
        with Run(items, JOB, dedupe=True) as run:
            if not run.is_finished(out):
                run.add_rows(out, resume=True)
                run.read()
        assert run.counts == Counts(pictures=3, faces=3, copies=3)
        assert out.read_text().count(".png") == 3
