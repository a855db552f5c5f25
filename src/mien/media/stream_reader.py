"""A camera or network stream -> frames. What stalls or breaks is connected anew, and time goes on."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from logging import getLogger

from mien.errors import MediaError
from mien.media.connection import Connect, Connection, ConnectionLost
from mien.media.frame_thread import FrameThread
from mien.media.limits import MAX_PIXELS
from mien.media.stream_address import is_camera, shown
from mien.media.timestamps import Timeline
from mien.media.video import AHEAD, WHOLE, Clip, FrameTimes
from mien.records import Failure, Frame

STEADY_S = 10.0
"""A connection that has lasted so many seconds was a good one: attempts are counted anew."""

_log = getLogger("mien")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How to bear with a sender: when it counts as stalled, how often and after which waits to connect anew.

    The waits double, from `first_s` up to `longest_s`. Each is shortened by up to half, at random, so that many readers
    of one sender do not all come back at once.
    """

    timeout_s: float = 10.0
    attempts: int = 6
    first_s: float = 0.5
    longest_s: float = 30.0

    def wait_s(self, attempt: int, chance: float) -> float:
        """The wait in seconds before an attempt, from 0 on; `chance` is 0..1."""
        return min(self.first_s * 2.0 ** min(attempt, 30), self.longest_s) * (1 - 0.5 * chance)


class StreamReader:
    """The frames of one camera or stream; iterate over it once.

    Frames are numbered as they come, so that gaps tell where some were left out. A `Failure` among them says what is
    damaged, why a connection broke and that there is a new one, and at the end that it was given up.

    Args:
        address: `camera:0`, `rtsp://...`; see `mien.media.stream_address`.
        clip: which frames are wanted, in seconds since the first.
        max_pixels: a larger frame is refused.
        patience: see there.
        connect: opens a connection; None: what the address names.
        clock: seconds, that never go back.
        wait: waits so many seconds; None: until then, or until `stop`.
        chance: a number 0..1 at random.

    Attributes:
        source: what the frames are called: the address without its password.
        recording: whether it has turned out to be a recording and not live; known from the first frame on.

    Raises:
        MediaError: on iterating, if it cannot be opened at all.
    """

    def __init__(
        self,
        address: str,
        clip: Clip = WHOLE,
        max_pixels: int = MAX_PIXELS,
        *,
        patience: RetryPolicy | None = None,
        connect: Connect | None = None,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.source = shown(address)
        self.recording = False
        self._clip, self._max_pixels, self._patience = clip, max_pixels, patience or RetryPolicy()
        self._connect = connect or _opener(address, max_pixels, self._patience.timeout_s, clock)
        self._clock, self._chance = clock, chance
        self._stop = threading.Event()
        self._wait = wait or self._stop.wait
        self._timeline = Timeline()
        self._moments = FrameTimes(clip)
        self._frames = 0
        self._arrived_s = 0.0

    def stop(self) -> None:
        """End it from another thread; a read under way is waited for, a wait is not."""
        self._stop.set()

    def __iter__(self) -> Generator[Frame | Failure]:
        connection = self._connect()
        self.recording = connection.recording
        attempts = 0
        while True:
            began_s, why = (self._timeline.time_s if self.recording else self._clock()), ""
            try:
                for each in self._read(connection):
                    yield self._failure(each) if isinstance(each, str) else each
            except ConnectionLost as error:
                why = str(error)
            finally:
                connection.close()
            if not why or self._stop.is_set():
                return
            if not self._frames:
                raise MediaError(f"{self.source}: opened, but broke before the first picture ({why}){self._hint()}")
            # By the clock: a file that a sender begins again and again, in no time, is no good connection.
            if (self._timeline.time_s if self.recording else self._arrived_s) - began_s >= STEADY_S:
                attempts = 0
            again, attempts, told = self._again(why, attempts)
            if told:
                yield self._failure(told)
            if again is None:
                return
            connection = again
            self._timeline.reconnect()

    def _read(self, connection: Connection) -> Iterator[Frame | str]:
        """The wanted frames of one connection."""
        before_s = self._timeline.time_s if self._frames else -1.0
        for shot in connection.shots(max(before_s, self._clip.start_s)):
            if self._stop.is_set():
                return
            if isinstance(shot, str):
                yield shot
                continue
            height, width = shot.image.shape[:2]
            if width * height > self._max_pixels:
                raise MediaError(f"{self.source}: {width} x {height} pixels; the limit is {self._max_pixels} pixels")
            self._arrived_s = self._clock()
            if connection.recording:
                if shot.stamp_s is not None and shot.stamp_s <= before_s:
                    continue  # came before the break, too
                time_s = self._timeline.of_file(shot.stamp_s)
            else:
                time_s = self._timeline.of_live(shot.stamp_s, self._arrived_s)
            index, self._frames = self._frames, self._frames + 1
            if self._moments.over(time_s):
                return
            if self._moments.take(time_s):
                yield Frame(shot.image, self.source, index, time_s)

    def _again(self, why: str, attempts: int) -> tuple[Connection | None, int, str]:
        """A new connection if there is one, how many attempts that makes, and what to say of it."""
        at_s, broken_s, last = self._timeline.time_s, self._clock(), why
        said = f"broke at {at_s:.2f} s ({why})"
        while attempts < self._patience.attempts:
            self._wait(self._patience.wait_s(attempts, self._chance()))
            attempts += 1
            gone_s = self._clock() - self._arrived_s
            if self._stop.is_set() or (not self.recording and self._moments.over(at_s + gone_s)):
                return None, attempts, f"{said}, and was not back before the end"
            try:
                connection = self._connect()
            except MediaError as error:
                last = str(error).removeprefix(f"{self.source}: ")
                continue
            if connection.recording and not self.recording:
                connection.close()
                return None, attempts, ""  # what was live is a recording by now: it is over, and all of it was seen
            return connection, attempts, f"{said}; reconnected after {self._clock() - broken_s:.1f} s"
        tried = "1 attempt" if attempts == 1 else f"{attempts} attempts"
        return None, attempts, f"{said}; given up after {tried} to reconnect ({last})"

    def _failure(self, what: str) -> Failure:
        return Failure(self.source, self._frames, f"{self.source}: {what}")

    def _hint(self) -> str:
        if self.recording:
            return (
                "; if it is an MP4 with its index at the end, the server must be able to send parts of files: download "
                "it, or make it anew with ffmpeg -movflags +faststart"
            )
        return "; check that something is being sent there"


def read_live(address: str, clip: Clip = WHOLE, max_pixels: int = MAX_PIXELS) -> Iterator[Frame | Failure]:
    """The wanted frames of a camera or stream, read in a thread of its own; see `StreamReader`.

    A recording waits for the reader. What is live does not: if it comes faster than it is taken, the oldest frames are
    left out, and a warning is logged at the end.
    """
    feed = StreamReader(address, clip, max_pixels)
    newest = FrameThread(iter(feed), keep=AHEAD, drop=lambda: not feed.recording, stop=feed.stop)
    with closing(newest):
        try:
            yield from newest
        finally:
            if newest.dropped:
                _log.warning(
                    "%s: %d of %d frames came faster than they were read, and were left out; ask for fewer a second",
                    feed.source,
                    newest.dropped,
                    newest.arrived,
                )


def _opener(address: str, max_pixels: int, timeout_s: float, clock: Callable[[], float]) -> Connect:
    # Late: neither library is needed for the other's sources.
    if is_camera(address):
        from mien.media.camera import Camera

        return lambda: Camera(address)
    from mien.media.stream import Stream

    return lambda: Stream(address, max_pixels, timeout_s, clock)
