"""Films made here and read back: pictures, times, sound; what is drawn on them."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from mien.errors import OutputError
from mien.media import Clip, read_video
from mien.output import video_writer as film_module
from mien.output.video_writer import VideoWriter
from mien.records import Box, Expression, Face, Frame, FrameReadings, Image, Reading
from mien.temporal.smoothing import MAX_LAG, ReadingSmoother

RATE = 48_000
BEEP_S = 1.2


def gray(value: float, width: int = 160, height: int = 120) -> Image:
    return np.full((height, width, 3), value, np.uint8)


def make_source(path: Path, codec: str = "aac", *, rate: int = RATE, tone: bool = True) -> Path:
    """Two seconds at 25 frames a second: dark and silent, and from `BEEP_S` on white and loud."""
    with av.open(str(path), "w") as container:
        track = container.add_stream("mpeg4", rate=25)
        track.width, track.height, track.pix_fmt = 160, 120, "yuv420p"
        sound = container.add_stream(codec, rate=rate, layout="mono") if tone else None
        for i in range(50):
            picture = gray(255 if i / 25 >= BEEP_S else 40)
            container.mux(track.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(track.encode(None))
        if sound:
            seconds = np.arange(2 * rate) / rate
            wave = (np.sin(2 * np.pi * 1000 * seconds) * 20_000 * (seconds >= BEEP_S)).astype(np.int16)
            beep = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
            beep.sample_rate, beep.pts, beep.time_base = rate, 0, Fraction(1, rate)
            container.mux([*sound.encode(beep), *sound.encode(None)])
    return path


def copy(source: Path, path: Path, clip: Clip = Clip()) -> VideoWriter:  # noqa: B008 - frozen
    with VideoWriter(path, sound=source) as film:
        for frame in read_video(str(source), clip):
            assert isinstance(frame, Frame)
            film.write(frame.image, frame.time_s or 0.0)
    return film


def write_all(path: Path, pictures: Iterable[Image]) -> None:
    with VideoWriter(path, overwrite=True) as film:
        for i, picture in enumerate(pictures):
            film.write(picture, i / 25)


def frames_of(path: Path) -> list[Frame]:
    frames = [f for f in read_video(str(path)) if isinstance(f, Frame)]
    assert frames
    return frames


def loud(path: Path) -> tuple[float, float]:
    """When the beep begins and ends, seconds."""
    with av.open(str(path)) as container:
        times, levels = [], []
        for frame in container.decode(audio=0):
            wave = frame.to_ndarray().astype(np.float64).reshape(-1)
            times.append(float(frame.pts * frame.time_base) + np.arange(len(wave)) / frame.sample_rate)
            levels.append(np.abs(wave))
    level = np.concatenate(levels)
    heard = np.concatenate(times)[level > 0.3 * level.max()]
    return float(heard[0]), float(heard[-1])


def streams(path: Path) -> dict[str, tuple[str, float]]:
    """Type of track -> its codec, and how long it is, seconds."""
    with av.open(str(path)) as container:
        return {
            s.type: (s.codec_context.codec.canonical_name, float(s.duration * s.time_base)) for s in container.streams
        }


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_a_film_holds_the_pictures_at_their_times(tmp_path: Path):
    times = [3.0, 3.04, 3.5, 3.52, 4.9]  # uneven, as a phone makes them
    with VideoWriter(tmp_path / "a.mp4") as film:
        for i, time_s in enumerate(times):
            film.write(gray(50 * i), time_s)
    assert film.notes == []
    assert film.pictures == 5
    frames = frames_of(tmp_path / "a.mp4")
    assert [f.time_s for f in frames] == pytest.approx([t - 3 for t in times], abs=1e-4)
    assert [float(f.image.mean()) for f in frames] == pytest.approx([0, 50, 100, 150, 200], abs=3)
    assert streams(tmp_path / "a.mp4") == {"video": ("h264", pytest.approx(1.9 + 1.38, abs=1e-3))}
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_a_film_begins_to_play_before_it_is_there_in_full(tmp_path: Path):
    with VideoWriter(tmp_path / "a.mp4") as film:
        film.write(gray(9), 0)
    data = (tmp_path / "a.mp4").read_bytes()
    assert 0 < data.find(b"moov") < data.find(b"mdat")
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"


def test_colors_are_those_of_bt_709_and_marked_as_such(tmp_path: Path):
    colors = np.array([(230, 159, 0), (86, 180, 233), (0, 158, 115), (213, 94, 0)], np.uint8)
    with VideoWriter(tmp_path / "a.mp4") as film:
        film.write(np.repeat(np.repeat(colors[None], 64, 0), 40, 1), 0)
    with av.open(str(tmp_path / "a.mp4")) as container:
        frame = next(container.decode(video=0))
    assert (frame.colorspace, frame.color_range) == (1, 1)
    brightness = frame.to_ndarray()[32, [20, 60, 100, 140]]
    assert brightness == pytest.approx(16 + 219 / 255 * colors @ [0.0722, 0.7152, 0.2126], abs=2)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 2), (33, 17), (161, 121), (40, 400)])
def test_every_size_of_picture(tmp_path: Path, width: int, height: int):
    with VideoWriter(tmp_path / "a.mp4") as film:
        film.write(gray(200, width, height), 0)
        film.write(gray(200, width, height), 0.1)
    found = frames_of(tmp_path / "a.mp4")[0].image
    assert found.shape[1] >= width
    assert found.shape[0] >= height
    middle = found[found.shape[0] // 2, found.shape[1] // 2]
    assert middle == pytest.approx(200, abs=4)


def test_an_odd_edge_is_continued_and_not_blackened(tmp_path: Path):
    with VideoWriter(tmp_path / "a.mp4") as film:
        film.write(gray(200, 161, 121), 0)
    found = frames_of(tmp_path / "a.mp4")[0].image
    assert found.shape == (122, 162, 3)
    assert found.min() > 190


def test_another_size_midway_is_fitted_into_the_first(tmp_path: Path):
    with VideoWriter(tmp_path / "a.mp4") as film:
        film.write(gray(200), 0)
        film.write(gray(200, 60, 120), 0.1)  # upright
        film.write(gray(200, 640, 240), 0.2)  # wide
    whole, upright, wide = (f.image.mean(2) for f in frames_of(tmp_path / "a.mp4"))
    assert whole.shape == upright.shape == wide.shape == (120, 160)
    assert upright[:, 55:105].min() > 190
    assert upright[:, :45].max() < 10
    assert upright[:, 115:].max() < 10
    assert wide[35:85].min() > 190
    assert wide[:25].max() < 10


def test_time_that_stands_still_or_goes_back_costs_no_picture(tmp_path: Path):
    with VideoWriter(tmp_path / "a.mp4") as film:
        for i, time_s in enumerate((0, 0, 0, 0.5, 0.2, 1.0)):
            film.write(gray(40 * i), time_s)
    frames = frames_of(tmp_path / "a.mp4")
    times = [f.time_s or 0.0 for f in frames]
    assert len(times) == 6
    assert sorted(times) == times
    assert times[-1] == pytest.approx(1.0)


def test_a_turned_video_is_written_upright(tmp_path: Path):
    """As a phone writes it: lying on its side, with a mark that says so."""
    data = bytearray(make_source(tmp_path / "turned.mp4").read_bytes())
    at = data.find(b"tkhd") + 4 + 40  # ISO 14496-12: the matrix stands 40 bytes into a track's header
    data[at : at + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)  # a quarter clockwise
    (tmp_path / "turned.mp4").write_bytes(data)
    copy(tmp_path / "turned.mp4", tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        track = container.streams.video[0]
        assert (track.width, track.height) == (120, 160)
        assert next(container.decode(video=0)).rotation == 0


@pytest.mark.parametrize("suffix", ["GIF", "WEBP"])
def test_an_animation_becomes_a_film_without_sound(tmp_path: Path, suffix: str):
    from PIL import Image as PillowImage

    from mien.media import list_items, read_item

    path = tmp_path / f"a.{suffix.lower()}"
    pictures = [PillowImage.fromarray(gray(80 * i)) for i in range(3)]
    pictures[0].save(path, suffix, save_all=True, append_images=pictures[1:], duration=[100, 300, 200])
    with VideoWriter(tmp_path / "a.mp4", sound=path) as film:
        for frame in read_item(list_items([str(path)])[0]):
            assert isinstance(frame, Frame)
            film.write(frame.image, frame.time_s or 0.0)
    assert film.notes == []
    assert list(streams(tmp_path / "a.mp4")) == ["video"]
    assert [f.time_s for f in frames_of(tmp_path / "a.mp4")] == pytest.approx([0, 0.1, 0.4])


# --- sound ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "codec", "rate", "kept"),
    [
        ("a.mp4", "aac", 48_000, "aac"),
        ("a.mkv", "libopus", 48_000, "opus"),
        ("a.mkv", "libmp3lame", 44_100, "mp3"),
        ("a.mkv", "libmp3lame", 8_000, "aac"),  # MP4 takes MP3 from 16 kHz on
        ("a.mkv", "flac", 44_100, "flac"),
        ("a.avi", "pcm_s16le", 11_025, "aac"),
        ("a.mov", "pcm_s16le", 37_000, "aac"),  # a rate that AAC does not have
    ],
)
@pytest.mark.parametrize("clip", [Clip(), Clip(start_s=1.0, end_s=1.6)], ids=["whole", "part"])
def test_the_sound_goes_with_the_pictures(tmp_path: Path, name: str, codec: str, rate: int, kept: str, clip: Clip):
    film = copy(make_source(tmp_path / name, codec, rate=rate), tmp_path / "out.mp4", clip)
    assert film.notes == []
    frames = frames_of(tmp_path / "out.mp4")
    lasts = len(frames) / 25
    found = streams(tmp_path / "out.mp4")
    assert found["video"] == ("h264", pytest.approx(lasts, abs=0.05))
    assert found["audio"] == (kept, pytest.approx(lasts, abs=0.13))
    white = next(f.time_s for f in frames if f.image.mean() > 128)
    assert white == pytest.approx(BEEP_S - clip.start_s, abs=0.05)
    begins, ends = loud(tmp_path / "out.mp4")
    assert begins == pytest.approx(white, abs=0.06)
    assert ends == pytest.approx(lasts, abs=0.13)


def test_sound_is_copied_as_it_is(tmp_path: Path):
    copy(make_source(tmp_path / "a.mp4"), tmp_path / "out.mp4")

    def packets(path: Path) -> list[bytes]:
        with av.open(str(path)) as container:
            return [bytes(p) for p in container.demux(audio=0) if p.size]

    before, after = packets(tmp_path / "a.mp4"), packets(tmp_path / "out.mp4")
    assert after == before[: len(after)]
    assert len(after) > 90


def test_a_video_without_sound_is_fine(tmp_path: Path):
    film = copy(make_source(tmp_path / "a.mp4", tone=False), tmp_path / "out.mp4")
    assert film.notes == []
    assert list(streams(tmp_path / "out.mp4")) == ["video"]


def test_sound_that_cannot_be_had_is_said_and_costs_no_picture(tmp_path: Path):
    (tmp_path / "text.mp4").write_text("no video" * 100)
    for source in (tmp_path / "text.mp4", tmp_path / "absent.mp4"):
        with VideoWriter(tmp_path / "out.mp4", sound=source, overwrite=True) as film:
            film.write(gray(9), 0)
        (note,) = film.notes
        assert note.startswith("the sound could not be kept (")
        assert len(frames_of(tmp_path / "out.mp4")) == 1


def test_sound_that_breaks_off_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from mien.output.audio_track import AudioTrack

    whole = AudioTrack._copied

    def half(self: AudioTrack, *args: object) -> Iterator[object]:
        for number, packet in enumerate(whole(self, *args)):
            if number == 40:
                raise av.error.InvalidDataError(1, "Invalid data")
            yield packet

    monkeypatch.setattr(AudioTrack, "_copied", half)
    film = copy(make_source(tmp_path / "a.mp4"), tmp_path / "out.mp4")
    assert film.notes == ["the sound ends at 0.81 s (Invalid data)"]
    assert len(frames_of(tmp_path / "out.mp4")) == 50


# --- the file ---------------------------------------------------------------------------------------------------------


def test_an_error_leaves_nothing_and_the_old_film_in_place(tmp_path: Path):
    (tmp_path / "a.mp4").write_text("old")

    def pictures() -> Iterator[Image]:
        yield from (gray(i) for i in range(5))
        assert (tmp_path / "a.mp4.partial").exists()
        assert (tmp_path / "a.mp4").read_text() == "old"
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_all(tmp_path / "a.mp4", pictures())
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]
    assert (tmp_path / "a.mp4").read_text() == "old"


def test_without_pictures_there_is_no_file(tmp_path: Path):
    with VideoWriter(tmp_path / "a.mp4"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.avi", r"a\.avi: expected a film's name that ends in \.mp4"),
        ("old.mp4", "exists already; choose another name, or replace it"),
        ("folder.mp4", "a folder; expected the name of a file"),
        ("absent/a.mp4", "there is no folder .*absent; make it first"),
        ("x" * 300 + ".mp4", "cannot be written"),
    ],
)
def test_places_that_cannot_be_written(tmp_path: Path, name: str, message: str):
    (tmp_path / "old.mp4").write_text("old")
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(OutputError, match=message):
        VideoWriter(tmp_path / name)


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX stand for a full disk")
@pytest.mark.parametrize("limit", [200, 20_000], ids=["at the end", "midway"])
def test_a_full_disk_is_an_error_that_leaves_nothing(tmp_path: Path, limit: int):
    import resource

    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    pictures = (np.roll(noise, 7 * i, 1) for i in range(100 if limit > 1000 else 2))
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        with pytest.raises(OutputError, match=r"a\.mp4: cannot be written \(File too large\)"):
            write_all(tmp_path / "a.mp4", pictures)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_without_h264_the_film_is_older_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(film_module, "ENCODERS", {"absent": {}, "mpeg4": film_module.ENCODERS["mpeg4"]})
    with VideoWriter(tmp_path / "a.mp4") as film:
        for i in range(9):
            film.write(gray(20 * i), i / 25)
    assert len(film.notes) == 1
    assert "no H.264 encoder" in film.notes[0]
    frames = frames_of(tmp_path / "a.mp4")
    assert [f.time_s for f in frames] == pytest.approx([i / 25 for i in range(9)])
    assert float(frames[5].image.mean()) == pytest.approx(100, abs=5)


def test_without_any_encoder_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(film_module, "ENCODERS", {"absent": {}})
    with pytest.raises(OutputError, match="none of the encoders absent"), VideoWriter(tmp_path / "a.mp4") as film:
        film.write(gray(1), 0)
    assert list(tmp_path.iterdir()) == []


def test_without_pyav_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(OutputError, match=r"pip install 'mien\[video\]'"):
        VideoWriter(tmp_path / "a.mp4")


# --- what is drawn on it ----------------------------------------------------------------------------------------------


def seen(time_s: float | None, box: Box, happy: float = 0.6, track: int | None = 1) -> FrameReadings:
    frame = Frame(gray(128), "a.mp4", 0, time_s)
    expression = Expression(("happy", "sad"), (happy, 1 - happy))
    return FrameReadings(frame, (Reading("a.mp4", 0, time_s, Face(box, 0.9), expression, track),))


def test_what_trembles_is_drawn_steadily():
    rng, steady = np.random.default_rng(0), ReadingSmoother()
    labels, lefts, found = [], [], []
    for i in range(100):
        x = 50 + rng.normal(0, 1)
        (drawn,) = steady.update(seen(i / 25, (x, 20, x + 40, 70), 0.75 if i % 3 else 0.2))
        found.append(x)
        lefts.append(drawn.face.box_xyxy[0])
        labels.append(drawn.expression.label)
        assert sum(drawn.expression.probabilities) == pytest.approx(1)
    assert set(labels[25:]) == {"happy"}
    assert np.abs(np.diff(lefts)).mean() < 0.4 * np.abs(np.diff(found)).mean()


def test_a_box_does_not_lag_behind_a_face_that_moves_fast():
    steady, widths = ReadingSmoother(), []
    for i in range(20):
        box = (10.0 * i, 5.0 * i, 10.0 * i + 40 + i % 2, 5.0 * i + 50)
        (drawn,) = steady.update(seen(i / 25, box))
        x1, y1, x2, y2 = np.subtract(drawn.face.box_xyxy, box)
        assert abs(x1 + x2) / 2 <= MAX_LAG * 41 + 1e-9
        assert abs(y1 + y2) / 2 <= MAX_LAG * 50 + 1e-9
        widths.append(drawn.face.box_xyxy[2] - drawn.face.box_xyxy[0])
    assert np.ptp(widths[10:]) < 0.3  # its size does not tremble meanwhile


def test_smoothing_goes_by_time_and_not_by_frames():
    ends = []
    for step in (0.02, 0.04):
        steady = ReadingSmoother()
        steady.update(seen(0, (50, 20, 90, 70), 1.0))
        for i in range(1, round(0.2 / step) + 1):
            (drawn,) = steady.update(seen(i * step, (52, 20, 92, 70), 0.0))
        ends.append((*drawn.face.box_xyxy, *drawn.expression.probabilities))
    assert ends[0] == pytest.approx(ends[1])


def test_tracks_do_not_mix_and_what_has_none_stays_as_it_is():
    steady = ReadingSmoother()
    steady.update(seen(0, (0, 0, 40, 40), 1.0))
    (other,) = steady.update(seen(0.04, (90, 50, 130, 90), 0.1, track=2))
    assert other.face.box_xyxy == (90, 50, 130, 90)
    assert other.expression.probabilities == pytest.approx((0.1, 0.9))
    for result in (seen(0.08, (1, 1, 9, 9), track=None), seen(None, (1, 1, 9, 9))):
        assert steady.update(result) == result.readings
    (off,) = ReadingSmoother(0, 0).update(seen(0, (1, 2, 3, 4)))
    assert off.face.box_xyxy == (1, 2, 3, 4)
