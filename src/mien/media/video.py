"""Video files -> frames, decoded ahead in a thread of their own. Needs PyAV (`pip install 'mien[video]'`)."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from mien.errors import MediaError, reason
from mien.media.frame_thread import FrameThread, never
from mien.media.limits import MAX_PIXELS
from mien.media.timestamps import Timeline
from mien.records import Failure, Frame, Image

AHEAD = 8
"""Frames decoded ahead: enough to keep two cores busy, 22 MB at 720p."""

MISSING_S = 1.0
"""A video whose frames end this much before its declared end is called truncated."""


@dataclass(frozen=True, slots=True)
class Clip:
    """Which frames of a video are wanted: from `start_s` to before `end_s`, seconds, and one every `every_s`.

    Without `every_s` every frame is; with it, the first at or after each multiple of `every_s` from `start_s` on.
    """

    start_s: float = 0.0
    end_s: float | None = None
    every_s: float | None = None

    def __post_init__(self) -> None:
        if self.start_s < 0 or (self.end_s is not None and self.end_s <= self.start_s):
            raise MediaError(f"expected 0 <= start < end, found start {self.start_s:g} s and end {self.end_s} s")
        if self.every_s is not None and self.every_s <= 0:
            raise MediaError(f"expected more than 0 s between frames, found {self.every_s:g} s")


WHOLE = Clip()


class FrameTimes:
    """Which of a clip's moments are wanted, asked in the order of time, seconds."""

    def __init__(self, clip: Clip) -> None:
        self.clip = clip
        self._due_s = clip.start_s

    def over(self, time_s: float) -> bool:
        """Whether the clip has ended."""
        return self.clip.end_s is not None and time_s >= self.clip.end_s

    def take(self, time_s: float) -> bool:
        """Whether the frame at this moment is wanted; if so, the next is wanted `every_s` later."""
        late_s = time_s + 1e-6 - self._due_s
        if late_s < 0:
            return False
        if self.clip.every_s:
            self._due_s += self.clip.every_s * (1 + int(late_s / self.clip.every_s))
        return True


def read_video(source: str, clip: Clip = WHOLE, max_pixels: int = MAX_PIXELS) -> Iterator[Frame | Failure]:
    """The wanted frames of a video file, upright; time comes from their presentation stamps and starts at 0.

    Damaged data becomes a `Failure` where it stands, and reading goes on; one at the end says that the video is shorter
    than its header promises. Memory holds `AHEAD` frames, whatever the length.

    Raises:
        MediaError: not a video, without a picture track, larger than `max_pixels`, or PyAV is missing.
    """
    av = pyav()
    try:
        container = av.open(source, metadata_errors="ignore")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise MediaError(f"{source}: cannot be read as a video ({ffmpeg_reason(error)})") from error
    with closing(container):
        track = find_track(av, container, source, max_pixels)
        items = decode_track(av, container, track, source, clip, max_pixels)
        # The container is closed after the thread has ended: it decodes from it.
        with closing(FrameThread(items, keep=AHEAD, drop=never, leave_s=None)) as frames:
            yield from frames


def find_track(av: Any, container: Any, source: str, max_pixels: int) -> Any:
    """The first track of moving pictures in an open PyAV container.

    Raises:
        MediaError: there is none, FFmpeg cannot decode it, or it is larger than `max_pixels`.
    """
    tracks = [t for t in container.streams.video if not t.disposition & av.stream.Disposition.attached_pic]
    if not tracks:
        found = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise MediaError(f"{source}: expected a video, found {found} without moving pictures")
    track = tracks[0]
    if track.codec_context is None:
        raise MediaError(f"{source}: this FFmpeg has no decoder for its video track")
    if track.width * track.height > max_pixels:
        raise MediaError(f"{source}: {track.width} x {track.height} pixels; the limit is {max_pixels} pixels")
    track.thread_type = "AUTO"
    if track.codec_context.codec.intra_only:  # each frame stands for itself: a damaged one is an error, not a guess
        track.codec_context.options = {"err_detect": "explode"}
    return track


def decode_track(
    av: Any, container: Any, track: Any, source: str, clip: Clip, max_pixels: int
) -> Generator[Frame | Failure]:
    """The wanted frames of one track that has an end; see `read_video`."""
    base = float(track.time_base)
    first_s = (track.start_time or 0) * base
    if clip.start_s:
        with suppress(av.error.FFmpegError):  # a server may not know how: then all before it is read and left out
            container.seek(round((clip.start_s + first_s) / base), stream=track)
    moments, index, timeline = FrameTimes(clip), 0, Timeline(first_s)
    concealed, damages = False, 0
    packets = container.demux(track)
    while True:
        try:
            packet = next(packets, None)
            frames: list[Any] = packet.decode() if packet is not None else []
        except av.error.FFmpegError as error:
            yield Failure(source, index, f"{source}: damaged after {timeline.time_s:.2f} s ({ffmpeg_reason(error)})")
            damages += 1
            continue
        if packet is None:
            break
        for frame in frames:
            time_s = timeline.of_file(None if frame.pts is None else float(frame.pts * base))
            if timeline.gone_back_s:
                back = f"time stamps go back by {timeline.gone_back_s:.2f} s at {time_s:.2f} s; time goes on from there"
                yield Failure(source, index, f"{source}: {back}")
            if moments.over(time_s):
                return
            if frame.is_corrupt and not concealed:
                what = "the decoder conceals it, and what it shows from there on may not be real"
                yield Failure(source, index, f"{source}: damaged at {time_s:.2f} s: {what}")
                damages += 1
            concealed = bool(frame.is_corrupt)
            if not moments.take(time_s):
                continue
            if frame.width * frame.height > max_pixels:  # a video may change its size
                yield Failure(source, index, f"{source}: a frame of {frame.width} x {frame.height} pixels is too large")
                damages += 1
                continue
            yield Frame(upright(frame.to_ndarray(format="bgr24"), frame.rotation), source, index, time_s)
            index += 1
    if not index and not damages:
        where = "" if clip == WHOLE else " in the part that is wanted"
        yield Failure(source, 0, f"{source}: no frame{where}; expected a video with moving pictures")
        return
    declared_s = declared(container, track)
    wanted_s = declared_s if clip.end_s is None else min(declared_s, clip.end_s)
    if timeline.time_s < wanted_s - MISSING_S:
        yield Failure(source, index, f"{source}: truncated: it ends at {timeline.time_s:.2f} s of {declared_s:.2f} s")


def upright(image: Image, degrees: float) -> Image:
    """Turn a frame uint8 `[H, W, 3]` counterclockwise, to the nearest quarter: how players show it."""
    return np.ascontiguousarray(np.rot90(image, round(degrees / 90) % 4))


def declared(container: Any, track: Any) -> float:
    """How long a video says it is, in seconds; 0 if it does not, as what is live."""
    if track.duration:
        return float(track.duration * track.time_base)
    return float(container.duration or 0) / 1e6


def pyav() -> Any:
    """PyAV, imported late and silenced.

    Raises:
        MediaError: it is not installed.
    """
    try:
        av: Any = import_module("av")
    except ImportError:
        raise MediaError("a video needs PyAV: pip install 'mien[video]'") from None
    av.logging.set_level(None)  # FFmpeg would print into the user's terminal; what matters comes as an error
    return av


def ffmpeg_reason(error: BaseException) -> str:
    """Why FFmpeg failed, without the address, which may hold a password."""
    if type(error).__name__ == "ExitError":  # how FFmpeg names a time limit of ours
        return "nothing arrived in time"
    return reason(error)
