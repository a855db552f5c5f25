"""Videos made here, with known frames at known times."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from mien.detect import StubDetector
from mien.errors import MediaError
from mien.media import Clip, list_items, open_sources, read_item, read_video
from mien.media.video import AHEAD, upright
from mien.model.bundle import Bundle
from mien.pipeline import Recognizer
from mien.records import Face, Failure, Frame, FrameReadings


def make_video(path: Path, times_ms: list[int], noise: int = 1) -> Path:
    """Frames that get brighter by 5 each, shown at the given times (milliseconds)."""
    rng, size = np.random.default_rng(0), (64, 48)
    with av.open(str(path), "w") as container:
        track = container.add_stream("mpeg4", rate=25)
        track.width, track.height, track.pix_fmt = *size, "yuv420p"
        track.codec_context.time_base = Fraction(1, 1000)
        track.codec_context.gop_size = 10
        for i, time_ms in enumerate(times_ms):
            pixels = 5 * i % 250 + rng.integers(0, noise, (size[1], size[0], 3))
            frame = av.VideoFrame.from_ndarray(pixels.astype(np.uint8), format="bgr24")
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            container.mux(track.encode(frame))
        container.mux(track.encode())
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds at 25 frames a second."""
    return make_video(tmp_path_factory.mktemp("video") / "clip.mp4", list(range(0, 2000, 40)))


def frames_of(path: Path, clip: Clip = Clip()) -> list[Frame]:  # noqa: B008 - frozen
    found = list(read_video(str(path), clip))
    assert all(isinstance(f, Frame) for f in found), found
    return [f for f in found if isinstance(f, Frame)]


def test_every_frame_comes_with_its_time(clip: Path):
    frames = frames_of(clip)
    assert [f.index for f in frames] == list(range(50))
    assert [f.time_s for f in frames] == pytest.approx(np.arange(50) * 0.04)
    assert frames[0].image.shape == (48, 64, 3)
    assert [round(float(f.image.mean())) for f in frames] == pytest.approx([5 * i for i in range(50)], abs=8)


def test_time_is_the_presentation_stamp_where_the_rate_varies(tmp_path: Path):
    times = [0, 40, 500, 520, 1900]
    frames = frames_of(make_video(tmp_path / "uneven.mkv", times))
    assert [f.time_s for f in frames] == pytest.approx([t / 1000 for t in times], abs=0.002)


@pytest.mark.parametrize(
    ("wanted", "times"),
    [
        (Clip(every_s=0.5), [0, 0.52, 1.0, 1.52]),
        (Clip(start_s=1.0), list(np.arange(1.0, 2.0, 0.04))),
        (Clip(start_s=0.9, end_s=1.0), [0.92, 0.96]),
        (Clip(start_s=0.3, end_s=1.2, every_s=0.4), [0.32, 0.72, 1.12]),
    ],
)
def test_only_the_wanted_frames_are_read(clip: Path, wanted: Clip, times: list[float]):
    found = frames_of(clip, wanted)
    assert [f.time_s for f in found] == pytest.approx(times)
    shown = [f.image.mean() / 5 for f in found]
    assert shown == pytest.approx([t * 25 for t in times], abs=1.2)  # the picture of that time


def test_a_truncated_video_gives_what_it_holds_and_says_where_it_ends(tmp_path: Path):
    whole = make_video(tmp_path / "whole.mkv", list(range(0, 8000, 40)), noise=6)
    data = whole.read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
    *frames, last = read_video(str(tmp_path / "cut.mkv"))
    assert len(frames) > 20
    assert all(isinstance(f, Frame) for f in frames)
    assert isinstance(last, Failure)
    assert "truncated: it ends at" in last.message
    assert "of 8.00 s" in last.message


def test_damage_in_the_middle_costs_frames_and_not_the_rest(clip: Path, tmp_path: Path):
    data = bytearray(make_video(tmp_path / "long.mkv", list(range(0, 4000, 40)), noise=6).read_bytes())
    middle = len(data) // 2
    data[middle : middle + 60] = bytes(60)
    (tmp_path / "damaged.mkv").write_bytes(data)
    found = list(read_video(str(tmp_path / "damaged.mkv")))
    times = [f.time_s for f in found if isinstance(f, Frame) and f.time_s is not None]
    assert times[0] == 0
    assert times[-1] > 3.5


def test_what_is_not_a_video_is_an_error_with_its_reason(tmp_path: Path):
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("no video" * 100)
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        track = container.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 8000
        container.mux([*track.encode(sound), *track.encode()])
    for name, message in (("empty", "as a video"), ("text", "as a video"), ("sound", "found audio without moving")):
        (item,) = list_items([str(tmp_path / f"{name}.mp4")])
        (failure,) = read_item(item)
        assert isinstance(failure, Failure)
        assert message in failure.message
        assert str(tmp_path / name) in failure.message


def test_a_too_large_video_is_refused_before_it_is_decoded(clip: Path):
    with pytest.raises(MediaError, match="64 x 48 pixels; the limit is 1000"):
        next(read_video(str(clip), max_pixels=1000))


@pytest.mark.parametrize("values", [{"start_s": -1}, {"start_s": 2, "end_s": 1}, {"every_s": 0}])
def test_a_clip_that_cannot_be_is_refused(values: dict[str, float]):
    with pytest.raises(MediaError, match="expected"):
        Clip(**values)


def test_leaving_off_early_ends_the_decoding_thread(clip: Path):
    before = set(threading.enumerate())
    frames = read_video(str(clip))
    next(frames)
    assert set(threading.enumerate()) > before
    frames.close()  # type: ignore[attr-defined]
    assert set(threading.enumerate()) <= before
    assert AHEAD < 50  # so that there was something to leave off


def test_frames_are_turned_as_players_turn_them():
    image = np.zeros((2, 3, 3), np.uint8)
    image[0, 2] = 255  # top right
    turned = upright(image, 90)  # counterclockwise: top left
    assert turned.shape == (3, 2, 3)
    assert turned[0, 0, 0] == 255
    assert upright(image, -90)[2, 1, 0] == 255


class _Moving:
    """A face that moves right by 4 pixels a frame; remembers how often it was asked."""

    name = "moving"

    def __init__(self) -> None:
        self.asked = 0

    def detect(self, image: np.ndarray) -> list[Face]:
        x = 4.0 * round(image.mean() / 5)
        self.asked += 1
        return [Face((x, 10.0, x + 40, 50.0), 0.9, None, self.name)]


def test_a_face_keeps_its_track_and_detection_may_rest(clip: Path, tiny_bundle: Bundle):
    detector = _Moving()
    recognizer = Recognizer(tiny_bundle.path, detector)
    found = list(recognizer.read_all(read_video(str(clip)), detect_every=3))
    assert detector.asked == 17
    readings = [r for f in found if isinstance(f, FrameReadings) for r in f.readings]
    assert [r.track for r in readings] == [1] * 50
    places = [r.face.box_xyxy[0] for r in readings]
    assert places[12:] == pytest.approx([4.0 * i for i in range(12, 50)], abs=8)


def test_a_video_that_is_named_twice_is_read_twice(clip: Path, tiny_bundle: Bundle):
    recognizer = Recognizer(tiny_bundle.path, _Moving())
    found = list(recognizer.read_all(open_sources([str(clip), str(clip)])))
    assert len(found) == 100
    assert all(isinstance(f, FrameReadings) and [r.track for r in f.readings] == [1] for f in found)


def test_a_still_has_no_track(tiny_bundle: Bundle):
    recognizer = Recognizer(tiny_bundle.path, StubDetector([Face((0, 0, 9, 9), 0.9)]))
    (result,) = recognizer.read_all([Frame(np.zeros((20, 20, 3), np.uint8), "still")])
    assert isinstance(result, FrameReadings)
    assert [r.track for r in result.readings] == [None]


def test_the_command_reads_a_clip(mien: Callable[..., tuple[int, str, str]], group: Path, tmp_path: Path):
    """The three people of the sample, panned over."""
    photo = cv2.resize(cv2.imread(str(group)), None, fx=0.5, fy=0.5)
    height, width = (n // 2 * 2 for n in photo.shape[:2])
    with av.open(str(tmp_path / "pan.mp4"), "w") as container:
        track = container.add_stream("mpeg4", rate=10)
        track.width, track.height, track.pix_fmt, track.bit_rate = width, height, "yuv420p", 4_000_000
        for i in range(20):
            view = np.roll(photo[:height, :width], 2 * i, axis=1)
            container.mux(track.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(view), format="bgr24")))
        container.mux(track.encode())
    code, out, err = mien("predict", tmp_path / "pan.mp4", "--every", "0.2s", "--start", "0:01", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0, err
    assert [row["time_s"] for row in rows] == [t for t in (1.0, 1.2, 1.4, 1.6, 1.8) for _ in range(3)]
    assert {row["track"] for row in rows} == {1, 2, 3}
    for number in (1, 2, 3):  # each person moves to the right, smoothly
        lefts = [row["box_xyxy"][0] for row in rows if row["track"] == number]
        assert len(lefts) == 5
        assert 0 < lefts[-1] - lefts[0] < 40

    code, out, err = mien(
        "predict", tmp_path / "pan.mp4", "--summary", "--eaf", tmp_path / "pan.eaf", "--detect-every", "2",
        "--timeline", tmp_path / "pan.html",
    )  # fmt: skip
    assert code == 0, err
    table = out.split("track  expression")[1].splitlines()[1:]
    assert {line.split()[0] for line in table} == {"1", "2", "3"}
    assert sum(float(line.split()[2]) for line in table) == pytest.approx(3 * 1.9, abs=1.0)
    assert (tmp_path / "pan.html").read_text().count("data:image/jpeg") >= 3
    assert mien("predict", tmp_path / "pan.mp4", "--timeline", tmp_path / "pan.txt")[0] == 2
    assert '<TIER TIER_ID="track 1"' in (tmp_path / "pan.eaf").read_text()
    code, out, err = mien("predict", tmp_path / "pan.mp4", "--eaf", tmp_path / "pan.eaf")
    assert "exists already" in err
    assert out == ""
    code, _, err = mien("predict", tmp_path / "pan.mp4", "--fps", "5", "--annotate", tmp_path / "seen", "--blur-faces")
    assert code == 0, err
    drawn = [f.image for f in read_video(str(tmp_path / "seen/pan.mp4")) if isinstance(f, Frame)]
    assert len(drawn) == 10
    assert drawn[0].shape[:2] == (height, width)
    code, _, err = mien("predict", tmp_path / "pan.mp4", "--annotate", tmp_path / "seen")
    assert code == 2
    assert "pan.mp4 exists already" in err
    assert "would replace it" in mien("predict", tmp_path / "pan.mp4", "--annotate", tmp_path, "--overwrite")[2]
    assert mien("predict", tmp_path / "pan.mp4", "--blur-faces")[0] == 2

    assert mien("predict", tmp_path / "pan.mp4", "--every", "soon")[0] == 2
    assert mien("predict", tmp_path / "pan.mp4", "--end", "nan")[0] == 2
    assert mien("predict", tmp_path / "pan.mp4", "--every", "1", "--fps", "2")[0] == 2
    assert "expected 0 <= start < end" in mien("predict", tmp_path / "pan.mp4", "--start", "5", "--end", "2")[2]


def test_without_pyav_a_video_says_what_to_install(clip: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MediaError, match=r"pip install 'mien\[video\]'"):
        next(read_video(str(clip)))
