"""The sound of a video, put to a film that is made of its pictures. Needs PyAV (`pip install 'mien[video]'`)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from mien.errors import reason

COPIED = frozenset({"aac", "ac3", "alac", "eac3", "flac", "libopus", "mp3", "mp3float", "opus"})
"""Decoders of what players expect in an MP4. FFmpeg would put more into one, but few could hear it."""

AAC_SAMPLES = 1024
"""Samples of one channel in one AAC packet."""


class AudioTrack:
    """A video's main sound track, from some time on, as a track of a film that has no pictures yet.

    It is copied packet by packet where an MP4 may hold it, else decoded and written as AAC, mono or stereo, with
    silence in its gaps. What goes wrong ends the sound, not the film.

    Args:
        av: PyAV.
        path: the video.
        film: the open output container.
        start_s: what becomes time 0: seconds after the video's first picture.

    Attributes:
        note: why there is no sound, or none from some time on; empty also for a video that has none.
    """

    def __init__(self, av: Any, path: Path, film: Any, start_s: float) -> None:
        self.note = ""
        self._av, self._film = av, film
        self._source: Any = None
        self._packets: Iterator[Any] = iter(())
        self._next: Any = None
        self._done_s = 0.0
        try:
            self._source = av.open(str(path), metadata_errors="ignore")
            self._begin(start_s)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            self._stop(error)
        else:
            self._advance()

    def put(self, end_s: float) -> None:
        """Write what begins before `end_s`, seconds of the film.

        Raises:
            OSError: the film cannot be written.
        """
        while self._next is not None:
            time_s = float(self._next.pts * self._next.time_base)
            if time_s >= end_s:
                return
            try:
                self._film.mux(self._next)
            except ValueError as error:  # FFmpeg's class for data that it cannot use
                self._stop(error)
                return
            self._done_s = max(0.0, time_s)
            self._advance()

    def close(self) -> None:
        """Let go of the video."""
        self._packets, self._next = iter(()), None
        if self._source is not None:
            self._source.close()
            self._source = None

    def _begin(self, start_s: float) -> None:
        track = self._source.streams.best("audio")
        if track is None:
            return
        if track.codec_context is None:
            raise ValueError("this FFmpeg has no decoder for it")
        pictures = self._source.streams.best("video")
        first_s = float((pictures.start_time or 0) * pictures.time_base) if pictures else 0.0
        if start_s > 1:
            with suppress(self._av.error.FFmpegError):  # reading up to it comes to the same
                self._source.seek(round((first_s + start_s - 1) * 1e6))
        if _may_copy(self._av, track):
            self._packets = self._copied(track, self._film.add_stream_from_template(track), first_s + start_s)
        else:
            self._packets = self._encoded(track, self._add_aac(track), first_s + start_s)

    def _advance(self) -> None:
        try:
            self._next = next(self._packets, None)
        except (self._av.error.FFmpegError, OSError, ValueError) as error:
            self._stop(error)

    def _stop(self, error: BaseException) -> None:
        what = f"the sound ends at {self._done_s:.2f} s" if self._done_s else "the sound could not be kept"
        self.note = f"{what} ({reason(error)})"
        self.close()

    def _copied(self, track: Any, out: Any, start_s: float) -> Iterator[Any]:
        shift, last = round(start_s / track.time_base), None
        for packet in self._source.demux(track):
            stamp = packet.dts if packet.pts is None else packet.pts
            if stamp is None or packet.is_corrupt:
                continue
            packet.pts = packet.dts = stamp - shift
            # A decoder needs the packet before the first that is heard; players leave out what lies before 0.
            if packet.pts + 2 * (packet.duration or 0) <= 0 or (last is not None and packet.pts <= last):
                continue
            last, packet.stream = packet.pts, out
            yield packet

    def _add_aac(self, track: Any) -> Any:
        rates: list[int] = self._av.codec.Codec("aac", "w").audio_rates
        rate = track.codec_context.sample_rate
        out = self._film.add_stream("aac", rate=rate if rate in rates else 48_000)
        out.codec_context.layout = "mono" if track.codec_context.channels == 1 else "stereo"
        return out

    def _encoded(self, track: Any, out: Any, start_s: float) -> Iterator[Any]:
        graph: Any = None
        for frame in self._decoded(track):
            if frame.pts is not None:
                frame.pts -= round(start_s / frame.time_base)
                if frame.pts + frame.samples / frame.sample_rate / frame.time_base <= 0:
                    continue
            graph = graph or _graph(self._av, frame, out.codec_context)
            graph.push(frame)
            for ready in _pull(self._av, graph):
                yield from out.encode(ready)
        if graph is not None:
            graph.push(None)
            for ready in _pull(self._av, graph):
                yield from out.encode(ready)
            yield from out.encode(None)

    def _decoded(self, track: Any) -> Iterator[Any]:
        for packet in self._source.demux(track):
            with suppress(self._av.error.FFmpegError):  # a damaged packet leaves a gap, and gaps are filled
                yield from packet.decode()


def _may_copy(av: Any, track: Any) -> bool:
    """Whether an MP4 holds this track, as its muxer sees it: of some codecs it takes not every rate."""
    if track.codec_context.name not in COPIED:
        return False
    try:
        with av.open(io.BytesIO(), "w", format="mp4") as trial:
            trial.add_stream_from_template(track)
            trial.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return False
    return True


def _graph(av: Any, frame: Any, encoder: Any) -> Any:
    """Sound from 0 on without gaps, in the encoder's format and packets."""
    graph = av.filter.Graph()
    shape = f"sample_fmts=fltp:sample_rates={encoder.sample_rate}:channel_layouts={encoder.layout.name}"
    graph.link_nodes(
        graph.add_abuffer(
            sample_rate=frame.sample_rate,
            format=frame.format.name,
            layout=frame.layout.name,
            time_base=frame.time_base,
        ),
        graph.add("aresample", f"{encoder.sample_rate}:async=1:first_pts=0"),
        graph.add("aformat", shape),
        graph.add("asetnsamples", f"{AAC_SAMPLES}:p=0"),
        graph.add("abuffersink"),
    ).configure()
    return graph


def _pull(av: Any, graph: Any) -> Iterator[Any]:
    with suppress(av.error.BlockingIOError, av.error.EOFError):
        while True:
            yield graph.pull()
