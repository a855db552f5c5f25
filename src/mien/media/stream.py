"""Network streams, through PyAV (`pip install 'mien[video]'`)."""

from __future__ import annotations

import base64
import errno
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import unquote, urlsplit

from mien.errors import MediaError
from mien.media.connection import ConnectionLost, StampedImage
from mien.media.stream_address import shown, split
from mien.media.video import MISSING_S, declared, ffmpeg_reason, find_track, pyav, upright

OPTIONS = {"rtsp_flags": "prefer_tcp"}
"""For FFmpeg: over UDP, which it would try first, pictures are lost."""

PEEK_S = 5.0
PEEK_BYTES = 512


class Stream:
    """An open network stream; see `connection.Connection`.

    Args:
        address: with its password, if it has one.
        max_pixels: of a frame.
        timeout_s: how long to wait for the server, and for each picture.

    Raises:
        MediaError: it cannot be opened, is no video, or PyAV is missing.
    """

    def __init__(
        self, address: str, max_pixels: int, timeout_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.source = shown(address)
        self._timeout_s, self._clock, self._max_pixels = timeout_s, clock, max_pixels
        try:
            self._av = pyav()
        except MediaError as error:
            raise MediaError(f"{self.source}: {error}") from None
        self._container = _open(self._av, address, timeout_s)
        try:
            self._check_format()
            self._track = find_track(self._av, self._container, self.source, max_pixels)
        except MediaError:
            self.close()
            raise
        self.declared_s = declared(self._container, self._track) or None
        self.recording = self.declared_s is not None or self._container.size > 0
        if not self.recording:
            self._track.thread_type = "SLICE"  # threads that take a frame each hold as many back

    def shots(self, from_s: float) -> Iterator[StampedImage | str]:
        """Pictures as they come; see `Connection.shots`."""
        av, track = self._av, self._track
        base = float(track.time_base)
        first_s = (track.start_time or 0) * base
        if self.recording and from_s > 0:
            with suppress(av.error.FFmpegError):  # not every server can: then all before it comes again
                self._container.seek(round((from_s + first_s) / base), stream=track)
        last_s, seen_s, damaged = 0.0, self._clock(), False
        # Sound is taken too: else it could hide for ever that no picture comes.
        packets = self._container.demux()
        while True:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError as error:
                if self.declared_s is not None and last_s >= self.declared_s - MISSING_S:
                    return
                raise ConnectionLost(self._why(error)) from None
            if packet is None:
                break
            if packet.stream is not track:
                if self._clock() - seen_s > self._timeout_s:
                    raise ConnectionLost(f"no picture for {self._timeout_s:g} s")
                continue
            try:
                frames = packet.decode()
            except av.error.FFmpegError as error:
                if not damaged:  # one row for a damaged stretch, however long
                    yield f"damaged after {last_s:.2f} s ({ffmpeg_reason(error)})"
                damaged = True
                continue
            for frame in frames:
                damaged = False
                if frame.width * frame.height > self._max_pixels:  # a stream may change its size
                    yield f"a frame of {frame.width} x {frame.height} pixels is too large"
                    continue
                stamp_s = None if frame.pts is None else float(frame.pts * base) - first_s
                last_s = max(last_s, stamp_s or 0.0)
                yield StampedImage(upright(frame.to_ndarray(format="bgr24"), frame.rotation), stamp_s)
                seen_s = self._clock()  # how long the reader took does not count
        if not self.recording:
            raise ConnectionLost("the sender has ended it")
        if self.declared_s is not None and last_s < self.declared_s - MISSING_S:
            yield f"truncated: it ends at {last_s:.2f} s of {self.declared_s:.2f} s"

    def close(self) -> None:
        """Hang up."""
        self._container.close()

    def _why(self, error: BaseException) -> str:
        if type(error).__name__ == "ExitError":
            return f"nothing arrived for {self._timeout_s:g} s"
        if getattr(error, "errno", None) == errno.EIO:
            return "the connection was lost, or the sender has ended it"
        return ffmpeg_reason(error)

    def _check_format(self) -> None:
        name = str(self._container.format.name)
        if name.endswith("_pipe") or name == "image2":
            raise MediaError(_only_video(self.source, f"a picture ({name.removesuffix('_pipe')})"))


def _only_video(source: str, found: str) -> str:
    return (
        f"{source}: expected a video stream, found {found}; from the network only video is read: download it first "
        "(curl -O), and name the file"
    )


def _open(av: Any, address: str, timeout_s: float) -> Any:
    """The open container. What PyAV raises holds the address with its password: it is not passed on."""
    begun_s = time.monotonic()
    try:
        return av.open(address, metadata_errors="ignore", options=OPTIONS, timeout=(timeout_s, timeout_s))
    except (av.error.FFmpegError, OSError, ValueError) as error:
        problem: BaseException = error
    if time.monotonic() - begun_s >= timeout_s:  # RTSP calls it something else
        problem = TimeoutError()
    raise MediaError(explain(address, problem, timeout_s))


def explain(address: str, error: BaseException, timeout_s: float) -> str:
    """Why a stream cannot be opened, and what to do, in words without its password."""
    source, kind = shown(address), type(error).__name__
    parts = split(address)
    host = (parts and parts.hostname) or "the server"
    scheme = address.partition("://")[0].lower()
    told = {
        "HTTPUnauthorizedError": f"{host} asks for a name and a password, or has refused these; give them as "
        f"{scheme}://NAME:PASSWORD@{host}/...",
        "HTTPForbiddenError": f"{host} does not allow it (403); ask for access, or give a name and a password as "
        f"{scheme}://NAME:PASSWORD@{host}/...",
        "HTTPNotFoundError": f"{host} has nothing at this address (404); check the path",
        "ConnectionRefusedError": f"nothing listens there: {host} has refused the connection; check the port, and that "
        "the server runs",
        "ExitError": f"no answer in {timeout_s:g} s; check the address, and that a firewall lets it through",
        "ProtocolNotFoundError": f"this FFmpeg cannot read {scheme}://; pip install 'mien[video]' brings one that can",
    }
    told["TimeoutError"] = told["ExitError"]
    if kind in told:
        return f"{source}: {told[kind]}"
    if parts and parts.hostname and not _resolves(parts.hostname):
        return f"{source}: no computer is called {host}; check the name, and that there is a network"
    if scheme in ("http", "https") and kind == "InvalidDataError":
        return _only_video(source, _peek(address))
    return f"{source}: cannot be read as a video stream ({ffmpeg_reason(error)})"


def _resolves(host: str) -> bool:
    try:
        return bool(socket.getaddrinfo(host, None))
    except (OSError, UnicodeError):
        return False


def _peek(address: str) -> str:
    """What a web server has there, in words: asked for anew, since FFmpeg does not tell."""
    parts = urlsplit(address)
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    request = urllib.request.Request(bare, headers={"Range": f"bytes=0-{PEEK_BYTES - 1}"})
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_header("Authorization", "Basic " + base64.b64encode(pair.encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=PEEK_S) as answer:
            kind, head = answer.headers.get_content_type(), answer.read(PEEK_BYTES)
    except (OSError, ValueError):
        return "nothing that FFmpeg knows"
    if kind == "text/html" or head.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
        return "a web page (HTML)"
    return f"no video ({kind}, {len(head)} bytes or more)" if head else "nothing: an empty answer"
