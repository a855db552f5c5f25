"""Pictures -> an MP4 film, with the sound of the video they come from. Needs PyAV (`pip install 'mien[video]'`)."""

from __future__ import annotations

import os
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from mien.errors import MediaError, OutputError, reason
from mien.imaging import resize, size_for
from mien.locks import Lock, lock
from mien.media import VIDEO_SUFFIXES
from mien.media.video import pyav
from mien.output.audio_track import AudioTrack
from mien.output.files import check_free
from mien.records import Image

TICKS = 60_000
"""Time stamps a second: 24, 25, 30, 50 and 60 frames a second fall on whole ones, and so do 29.97 and 59.94."""

ENCODERS = {
    "libx264": {"preset": "veryfast", "crf": "20", "bf": "0"},  # B-frames would blur how long the last one is shown
    "mpeg4": {"flags": "+qscale", "global_quality": str(3 * 118)},  # what FFmpeg's command line calls -q:v 3
}
"""The first that the installed FFmpeg has is used, with these options."""

ONLY_S = 0.04
"""How long the picture of a film with one is shown; else the last is shown as long as the one before it."""

MIN_SIDE, MAX_RATE = 16, 240
"""Pixels, and pictures a second: what encoders and players are made for."""

_BT709 = 1
"""FFmpeg's number for this standard, as matrix, as primaries and as transfer curve."""

_LIMITED = 1
"""FFmpeg's number for the range of brightness that video has, 16..235."""


class VideoWriter:
    """Writes one film, picture by picture; a context manager.

    The film grows in `NAME.partial`, which is moved onto `NAME` when the with-block ends, and dropped if that ends in
    an error. Without a picture no file is made. Memory holds a second or two of pictures, whatever the length.

    Args:
        path: ends in .mp4.
        sound: the video whose sound is put to the pictures, from the first to the end of the last; see
            `mien.output.audio_track.AudioTrack`. A file that is not a video, or has no sound, gives none.
        overwrite: replace `path`.

    Attributes:
        path: where the film will be.
        partial: where it is meanwhile.
        pictures: how many have been written.
        notes: where the film falls short of what was asked, in words; complete after the with-block.

    Raises:
        OutputError: another suffix, `path` exists, its folder does not, or PyAV is missing.
    """

    def __init__(self, path: Path, *, sound: Path | None = None, overwrite: bool = False) -> None:
        try:
            _check(path, overwrite)
        except (OSError, ValueError) as error:  # a name that no file system takes
            raise OutputError(f"{path}: cannot be written ({reason(error)})") from error
        try:
            self._av = pyav()
        except MediaError as error:
            raise OutputError(str(error)) from error
        self.path = path
        self.partial = path.with_name(path.name + ".partial")
        self.pictures = 0
        self.notes: list[str] = []
        self._sound_of = sound if sound and sound.suffix.lower() in VIDEO_SUFFIXES else None
        self._sound: AudioTrack | None = None
        self._lock: Lock | None = None
        self._container: Any = None
        self._track: Any = None
        self._first_s = 0.0
        self._size_wh = (0, 0)
        self._held: Any = None  # the last picture: how long it is shown is known with the next
        self._held_ticks = round(ONLY_S * TICKS)
        self._durations: dict[int, int] = {}

    def write(self, image: Image, time_s: float) -> None:
        """Append a picture.

        Args:
            image: uint8 `[H, W, 3]`, BGR; not changed. One that differs in size from the first is fitted into that,
                on black.
            time_s: when it is shown, seconds; the film begins with the first. Time that does not go forward is taken
                for the moment after.

        Raises:
            OutputError: the disk is full or gone, or no encoder takes pictures of this size.
        """
        if not self.pictures:
            self._first_s = time_s
            self._size_wh = (_codable(image.shape[1]), _codable(image.shape[0]))
        frame = self._av.VideoFrame.from_ndarray(_fit(image, self._size_wh), format="bgr24")
        frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709")
        frame.pts, frame.time_base = round((time_s - self._first_s) * TICKS), Fraction(1, TICKS)
        if self._held is not None:
            frame.pts = max(frame.pts, self._held.pts + 1)
            self._held_ticks = frame.pts - self._held.pts
            self._encode_held()
        self._held = frame
        self.pictures += 1

    def close(self, error: BaseException | None = None) -> None:
        """Finish the film and move it to `path`; after an `error`, leave nothing of it.

        Raises:
            OutputError: it cannot be finished or moved; nothing is left of it.
        """
        if error is not None:
            self._drop()
            return
        if self._held is None:
            return
        end_s = (self._held.pts + self._held_ticks) / TICKS
        self._encode_held()
        self._held = None
        try:
            self._mux(self._track.encode(None))
            if self._sound:
                self._sound.put(end_s)
            self._container.close()
            self._close_sound()  # where it is the file that is replaced, some systems want it closed
            with self.partial.open("rb+") as file:
                os.fsync(file.fileno())
            self.partial.replace(self.path)
        except (self._av.error.FFmpegError, OSError) as problem:
            raise self._failure(problem) from problem
        if self._lock:
            self._lock.release()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(error)

    def _encode_held(self) -> None:
        try:
            if self._container is None:
                self._open()
            self._durations[self._held.pts] = self._held_ticks
            self._mux(self._track.encode(self._held))
            if self._sound:
                self._sound.put(self._held.pts / TICKS)
        except (self._av.error.FFmpegError, OSError, ValueError) as error:
            raise self._failure(error) from error

    def _open(self) -> None:
        encoder = next((name for name in ENCODERS if self._has(name)), None)
        if encoder is None:
            raise ValueError(f"this FFmpeg has none of the encoders {', '.join(ENCODERS)}; pip install 'mien[video]'")
        if encoder == "mpeg4":
            self.notes.append("this FFmpeg has no H.264 encoder: the film is MPEG-4 Part 2, which browsers do not play")
        self._lock = lock(self.path)
        self._container = self._av.open(str(self.partial), "w", format="mp4", options={"movflags": "+faststart"})
        rate = min(Fraction(TICKS, self._held_ticks), Fraction(MAX_RATE))
        track = self._track = self._container.add_stream(encoder, rate=rate, options=ENCODERS[encoder])
        track.width, track.height = self._size_wh
        track.pix_fmt, track.time_base = "yuv420p", Fraction(1, TICKS)
        context = track.codec_context
        context.time_base, context.thread_type = Fraction(1, TICKS), "AUTO"
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED
        if self._sound_of:
            self._sound = AudioTrack(self._av, self._sound_of, self._container, self._first_s)
        self._container.start_encoding()

    def _has(self, encoder: str) -> bool:
        try:
            self._av.codec.Codec(encoder, "w")
        except ValueError:
            return False
        return True

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            packet.duration = self._durations.pop(packet.pts, 0)
            self._container.mux(packet)

    def _failure(self, error: BaseException) -> OutputError:
        self._drop()
        return OutputError(f"{self.path}: cannot be written ({reason(error)})")

    def _drop(self) -> None:
        """Leave nothing behind."""
        self._held = None
        self._close_sound()
        if self._container is not None:
            with suppress(self._av.error.FFmpegError, OSError, ValueError):
                self._container.close()
            with suppress(OSError):
                self.partial.unlink(missing_ok=True)
        if self._lock:
            self._lock.release()

    def _close_sound(self) -> None:
        if self._sound:
            self._sound.close()
            self.notes += [self._sound.note] if self._sound.note else []
            self._sound = None


def _check(path: Path, overwrite: bool) -> None:
    if path.suffix.lower() != ".mp4":
        raise OutputError(f"{path}: expected a film's name that ends in .mp4")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: there is no folder {path.parent}; make it first")
    check_free(path, overwrite=overwrite)


def _codable(side: int) -> int:
    """Encoders want an even number of pixels, and a few of them."""
    return max(MIN_SIDE, side + side % 2)


def _fit(image: Image, size_wh: tuple[int, int]) -> Image:
    """A picture of `size_wh`: as it is but for a missing pixel at its far edges, else scaled, on black."""
    width, height = size_wh
    high, wide = image.shape[:2]
    if 0 <= width - wide <= 1 and 0 <= height - high <= 1:
        return np.ascontiguousarray(np.pad(image, ((0, height - high), (0, width - wide), (0, 0)), "edge"))
    scale = min(width / wide, height / high)
    inner = size_for(image, scale)
    fitted = np.zeros((height, width, 3), np.uint8)
    x, y = (width - inner[0]) // 2, (height - inner[1]) // 2
    fitted[y : y + inner[1], x : x + inner[0]] = resize(image, *inner)
    return fitted
