"""Cameras and network streams: read, broken, stalled, refused; and no password anywhere."""

from __future__ import annotations

import _thread
import json
import logging
import signal
import socket
import socketserver
import struct
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from fractions import Fraction
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.errors import MediaError
from mien.media import Clip, list_items, open_sources, read_video
from mien.media import camera as cameras
from mien.media import stream_reader as feeds
from mien.media.connection import Connection, ConnectionLost, StampedImage
from mien.media.frame_thread import FrameThread
from mien.media.stream_address import shown, stem
from mien.media.stream_reader import RetryPolicy, StreamReader
from mien.media.timestamps import JUMP_S, Timeline
from mien.records import Failure, Frame

SECRET = "s3cr3t"
PICTURE = np.full((48, 64, 3), 90, np.uint8)


def film(path: Path, picture: Path, seconds: float = 2.0, width: int = 160, **options: Any) -> Path:
    """The picture, panned over, 25 frames a second."""
    image = cv2.imread(str(picture))
    height = round(image.shape[0] * width / image.shape[1]) // 2 * 2
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    with av.open(str(path), "w", **options) as container:
        track = container.add_stream("mpeg4", rate=25)
        track.width, track.height, track.pix_fmt, track.bit_rate = width, height, "yuv420p", 2_000_000
        track.codec_context.gop_size = 5
        for i in range(round(seconds * 25)):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.roll(image, i, axis=1)), format="bgr24")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(track.encode(frame))
        container.mux(track.encode())
    return path


class Server:
    """A web server on this machine that answers each path as it is told."""

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        self.requests: list[tuple[str, str | None]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests.append((self.path, self.headers.get("Authorization")))
                answer = outer.answers.get(self.path.partition("?")[0])
                with suppress(OSError):  # the reader may have hung up
                    answer(self) if answer else self.send_error(404)

            def log_message(self, *args: object) -> None:
                pass

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def send(data: bytes, kind: str = "video/mp4", length: int | None = None, then: Callable[[], object] = lambda: None):
    """An answer with `data`, said to be `length` bytes long (-1: nothing is said of it)."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", kind)
        if length != -1:
            request.send_header("Content-Length", str(length or len(data)))
        request.end_headers()
        request.wfile.write(data)
        request.wfile.flush()
        then()

    return answer


def in_turn(*answers: Callable[[BaseHTTPRequestHandler], None]) -> Callable[[BaseHTTPRequestHandler], None]:
    """The first answer to the first request, and so on; the last to all that follow."""
    left = list(answers)
    return lambda request: (left.pop(0) if len(left) > 1 else left[0])(request)


@pytest.fixture
def server() -> Iterator[Server]:
    with closing(Server()) as made:
        yield made


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, group: Path) -> dict[str, bytes]:
    """Two seconds as MP4 (index first, index last) and as a transport stream."""
    folder = tmp_path_factory.mktemp("clips")
    made = {
        "first": film(folder / "first.mp4", group, options={"movflags": "+faststart"}),
        "last": film(folder / "last.mp4", group),
        "ts": film(folder / "a.ts", group),
    }
    return {name: path.read_bytes() for name, path in made.items()}


def read(
    address: str, timeout_s: float = 5.0, attempts: int = 3, clip: Clip | None = None
) -> tuple[list[Frame], list[str]]:
    """The frames of a stream and what failures say, without waiting between attempts."""
    patience = RetryPolicy(timeout_s=timeout_s, attempts=attempts)
    items = list(StreamReader(address, patience=patience, wait=lambda seconds: None))
    return [i for i in items if isinstance(i, Frame)], [i.message for i in items if isinstance(i, Failure)]


# --- streams over HTTP


def test_a_recording_is_read_like_the_file(server: Server, clips: dict[str, bytes], tmp_path: Path):
    server.answers["/a.mp4"] = send(clips["first"])
    (tmp_path / "a.mp4").write_bytes(clips["first"])
    streamed = list(open_sources([f"http://{server.host}/a.mp4"], clip=Clip(every_s=0.2)))
    filed = list(read_video(str(tmp_path / "a.mp4"), Clip(every_s=0.2)))
    assert all(isinstance(f, Frame) for f in streamed), streamed
    assert [f.time_s for f in streamed] == [f.time_s for f in filed]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(streamed, filed, strict=True))


def test_a_name_and_password_go_to_the_server_and_nowhere_else(server: Server, clips: dict[str, bytes]):
    def ask(request: BaseHTTPRequestHandler) -> None:
        request.send_response(401)
        request.send_header("WWW-Authenticate", 'Basic realm="camera"')
        request.end_headers()

    broken = send(clips["ts"], length=2 * len(clips["ts"]))
    server.answers["/a.ts"] = in_turn(ask, broken, lambda r: r.send_error(503))
    address = f"http://ann:{SECRET}@{server.host}/a.ts?token={SECRET}"
    items = list(StreamReader(address, patience=RetryPolicy(attempts=2), wait=lambda seconds: None))
    assert server.requests[1][1] == "Basic " + b64encode(f"ann:{SECRET}".encode()).decode()
    assert server.requests[0][0].endswith(SECRET)
    assert {item.source for item in items} == {f"http://***@{server.host}/a.ts?token=***"}
    assert isinstance(items[-1], Failure)
    assert "given up after 2 attempts" in items[-1].message
    assert SECRET not in "".join(item.message for item in items if isinstance(item, Failure))
    assert SECRET not in repr(list_items([address]))


def test_a_recording_that_breaks_is_gone_on_with_where_it_was(server: Server, clips: dict[str, bytes]):
    whole = clips["first"]
    server.answers["/a.mp4"] = in_turn(send(whole[: len(whole) // 2], length=len(whole)), send(whole))
    frames, failures = read(f"http://{server.host}/a.mp4")
    assert [f.time_s for f in frames] == pytest.approx(np.arange(50) * 0.04)
    assert [f.index for f in frames] == list(range(50))
    (message,) = failures
    assert "broke at" in message
    assert "reconnected after" in message


def test_what_is_live_goes_on_in_time_when_it_comes_back(server: Server, clips: dict[str, bytes]):
    half = clips["ts"][: len(clips["ts"]) // 2]
    server.answers["/live"] = in_turn(
        send(half, "video/mp2t", -1), send(half, "video/mp2t", -1), lambda r: r.send_error(404)
    )
    frames, failures = read(f"http://{server.host}/live")
    times = [f.time_s or 0.0 for f in frames]
    assert len(times) > 40
    assert times == sorted(times)
    assert "reconnected" in failures[0]
    assert "given up after" in failures[-1]
    assert "nothing at this address (404)" in failures[-1]


def test_a_stall_is_a_break(server: Server, clips: dict[str, bytes]):
    whole, over = clips["first"], threading.Event()
    stalling = send(whole[: len(whole) // 2], length=len(whole), then=lambda: over.wait(20))
    server.answers["/a.mp4"] = in_turn(stalling, send(whole))
    try:
        frames, failures = read(f"http://{server.host}/a.mp4", timeout_s=0.5)
    finally:
        over.set()
    assert len(frames) == 50
    assert "nothing arrived for 0.5 s" in failures[0]
    assert "reconnected" in failures[0]


def test_a_recording_that_never_ends_whole_is_given_up(server: Server, clips: dict[str, bytes]):
    whole = clips["first"]
    server.answers["/a.mp4"] = send(whole[: len(whole) // 2], length=len(whole))
    frames, failures = read(f"http://{server.host}/a.mp4", attempts=3)
    assert 15 < len(frames) < 40
    assert len(failures) == 4  # three times it was back, and then no more
    assert "given up after 3 attempts" in failures[-1]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (send(b"<!doctype html><html><body>Sign in</body></html>" * 40, "text/html"), r"found a web page \(HTML\)"),
        (
            send(cv2.imencode(".jpg", PICTURE)[1].tobytes(), "image/jpeg"),
            r"found a picture \(jpeg\).*download it",
        ),
        (send(b"no video " * 99, "text/plain"), r"found no video \(text/plain"),
        (lambda r: r.send_error(401), "asks for a name and a password"),
        (lambda r: r.send_error(403), r"does not allow it \(403\)"),
        (lambda r: r.send_error(404), r"nothing at this address \(404\)"),
        (lambda r: r.send_error(500), "cannot be read as a video stream"),
    ],
    ids=["html", "jpeg", "text", "401", "403", "404", "500"],
)
def test_what_is_no_video_stream_is_an_error_that_says_what_it_is(
    server: Server, answer: Callable[[BaseHTTPRequestHandler], None], message: str
):
    server.answers["/x"] = answer
    with pytest.raises(MediaError, match=message) as caught:
        next(iter(StreamReader(f"http://ann:{SECRET}@{server.host}/x")))
    assert str(caught.value).startswith(f"http://***@{server.host}/x: ")
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None  # PyAV's own error holds the address
    assert caught.value.__context__ is None


def test_an_index_at_the_end_needs_a_server_that_can_send_parts(server: Server, clips: dict[str, bytes]):
    server.answers["/a.mp4"] = send(clips["last"])
    with pytest.raises(MediaError, match=r"before the first picture.*faststart"):
        next(iter(StreamReader(f"http://{server.host}/a.mp4")))


def test_a_server_that_is_not_there(server: Server, monkeypatch: pytest.MonkeyPatch):
    server.close()
    for scheme in ("http", "rtsp", "rtmp"):
        with pytest.raises(MediaError, match=r"\*\*\*@.*refused the connection"):
            next(iter(StreamReader(f"{scheme}://ann:{SECRET}@{server.host}/x")))
    monkeypatch.setattr("mien.media.stream._resolves", lambda host: False)
    with pytest.raises(MediaError, match=r"no computer is called nosuch\.invalid"):
        next(iter(StreamReader("http://nosuch.invalid/x")))


def test_a_server_that_never_answers():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/x"
        with pytest.raises(MediaError, match=r"no answer in 0\.3 s; check the address"):
            next(iter(StreamReader(address, patience=RetryPolicy(timeout_s=0.3))))


def test_without_pyav_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(MediaError, match=r"^rtsp://127\.0\.0\.1/x: .*pip install 'mien\[video\]'"):
        next(iter(StreamReader("rtsp://127.0.0.1/x")))


class Rtsp(socketserver.StreamRequestHandler):
    """A camera that sends a transport stream over RTSP (RFC 2326; RFC 2250 for the packets) to whom it knows."""

    data = b""
    asked: ClassVar[list[str]] = []

    def handle(self) -> None:
        with suppress(OSError):
            while lines := list(iter(lambda: self.rfile.readline().decode().strip(), "")):
                self.answer(lines)

    def answer(self, lines: list[str]) -> None:
        method, headers = lines[0].split()[0], dict(line.split(": ", 1) for line in lines[1:])
        self.asked.append(method)
        known = headers.get("Authorization") == "Basic " + b64encode(f"ann:{SECRET}".encode()).decode()
        body = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:track0\r\n"
        told = {
            "DESCRIBE": "Content-Type: application/sdp",
            "SETUP": "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1",
        }.get(method, "Public: DESCRIBE, SETUP, PLAY")
        if not known:
            told = 'WWW-Authenticate: Basic realm="camera"'
        body = body * (known and method == "DESCRIBE")
        status = "200 OK" if known else "401 Unauthorized"
        head = f"RTSP/1.0 {status}\r\nCSeq: {headers['CSeq']}\r\n{told}\r\nContent-Length: {len(body)}\r\n\r\n"
        self.wfile.write((head + body).encode())
        if known and method == "PLAY":
            for number, at in enumerate(range(0, len(self.data), 7 * 188)):
                packet = struct.pack(">BBHII", 0x80, 33, number, 900 * number, 1) + self.data[at : at + 7 * 188]
                self.wfile.write(b"$\0" + struct.pack(">H", len(packet)) + packet)
            raise ConnectionError  # hangs up


def test_a_camera_on_the_network_speaks_rtsp(clips: dict[str, bytes], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Rtsp, "data", clips["ts"])
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Rtsp) as made:
        made.daemon_threads = True
        threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
        host = f"127.0.0.1:{made.server_address[1]}"
        frames, failures = read(f"rtsp://ann:{SECRET}@{host}/stream", attempts=1)
        with pytest.raises(MediaError, match="asks for a name and a password, or has refused these"):
            next(iter(StreamReader(f"rtsp://ann:other@{host}/stream")))
        made.shutdown()
    assert Rtsp.asked.count("PLAY") == 2  # and once more after the first has ended
    assert len(frames) > 90
    assert [f.time_s for f in frames[:3]] == pytest.approx([0.0, 0.04, 0.08])
    assert failures[0].startswith(f"rtsp://***@{host}/stream: broke at")
    assert "given up after 1 attempt to reconnect" in failures[-1]


# --- names


@given(
    scheme=st.sampled_from(["rtsp", "RTSP", "rtsps", "rtmp", "http", "https"]),
    user=st.text("abcdefghij-._~%", min_size=0, max_size=6),
    before=st.text(max_size=8),
    after=st.text(max_size=8),
    path=st.text("abc/?#&=1@:", max_size=12),
)
def test_no_password_is_shown_whatever_is_in_it(scheme: str, user: str, before: str, after: str, path: str):
    address = f"{scheme}://{user}:{before}{SECRET}{after}@camera.local:554/{path}"
    assert SECRET not in shown(address)
    assert shown(address).startswith(f"{scheme}://***@")
    try:
        text = repr(list_items([address]))
    except MediaError as error:
        text = str(error)
    assert SECRET not in text


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("rtsp://host/stream", "rtsp://host/stream"),
        ("rtsp://ann@host/stream", "rtsp://***@host/stream"),
        ("rtsp://ann:pw@[::1]:554/a@b", "rtsp://***@b"),  # may be all password: rather too much than too little
        ("http://host/a@b.mp4", "http://host/a@b.mp4"),
        ("http://host/v?channel=1&Password=pw&x=2", "http://host/v?channel=1&Password=***&x=2"),
        ("http://host/v?user=ann&pwd=a=b", "http://host/v?user=***&pwd=***"),
        ("camera:0", "camera:0"),
        ("photos/a@b.jpg", "photos/a@b.jpg"),
    ],
)
def test_how_sources_are_shown(address: str, name: str):
    assert shown(address) == name


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("camera:0", "camera-0"),
        ("camera:/dev/video2", "camera-video2"),
        ("rtsp://***@host/live/ch1", "ch1"),
        ("rtsp://host:554", "host"),
        ("http://host/a%20b.mp4?x=1", "a_20b"),
    ],
)
def test_what_files_made_of_them_are_called(source: str, name: str):
    assert stem(source) == name


@pytest.mark.parametrize(
    "source", ["camera:", "camera:front", "camera:-1", "camera:²", "rtsp://", "http:///x", "rtsp://a:b/c"]
)
def test_names_that_cannot_be_are_refused_before_anything_is_opened(source: str):
    with pytest.raises(MediaError, match="expected"):
        list_items([source])


def test_other_schemes_are_named_as_such():
    with pytest.raises(MediaError, match=r"udp://\*\*\*@1.2.3.4/: .*expected a file, or a stream with one of http, "):
        list_items([f"udp://ann:{SECRET}@1.2.3.4/"])


# --- cameras


class FakeCapture:
    """What OpenCV would give: so many pictures, then none."""

    opened = 0
    pictures: Sequence[object] = ()

    def __init__(self, *args: object) -> None:
        type(self).opened += 1
        self._left = list(self.pictures)

    def isOpened(self) -> bool:
        return bool(self.pictures)

    def read(self) -> tuple[bool, object]:
        return (True, self._left.pop(0)) if self._left else (False, None)

    def set(self, *args: object) -> None:
        pass

    def release(self) -> None:
        pass


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[FakeCapture]:
    """camera:0 and camera:2 of a Linux machine."""
    for number, name in ((0, "Front camera"), (2, "Microscope")):
        (tmp_path / f"dev/video{number}").parent.mkdir(exist_ok=True)
        (tmp_path / f"dev/video{number}").touch()
        (tmp_path / f"sys/video{number}").mkdir(parents=True)
        (tmp_path / f"sys/video{number}/name").write_text(name + "\n")
    monkeypatch.setattr(cameras, "DEVICES", tmp_path / "dev")
    monkeypatch.setattr(cameras, "NAMES", tmp_path / "sys")
    monkeypatch.setattr("sys.platform", "linux")
    fake = type("Fake", (FakeCapture,), {"opened": 0, "pictures": [PICTURE, PICTURE[:, :, 0], PICTURE]})
    monkeypatch.setattr(cameras, "_capture", fake)
    return fake


def test_a_camera_gives_frames_at_the_clocks_time(camera: type[FakeCapture]):
    ticks = iter(np.arange(100.0, 200.0, 0.25))
    feed = StreamReader("camera:0", patience=RetryPolicy(attempts=0), clock=lambda: float(next(ticks)))
    *frames, last = feed
    assert [f.time_s for f in frames if isinstance(f, Frame)] == [0.0, 0.25, 0.5]
    assert all(f.image.shape == (48, 64, 3) for f in frames if isinstance(f, Frame))
    assert isinstance(last, Failure)
    assert "unplugged" in last.message
    assert not feed.recording


def test_a_camera_that_comes_back_goes_on(camera: type[FakeCapture]):
    ticks = iter(np.arange(0.0, 200.0, 0.5))
    items = list(
        StreamReader(
            "camera:0", Clip(end_s=4.0), clock=lambda: float(next(ticks)), wait=lambda seconds: None, chance=lambda: 0.5
        )
    )
    times = [i.time_s for i in items if isinstance(i, Frame)]
    assert camera.opened > 1
    assert times == sorted(times)
    assert "reconnected" in "".join(i.message for i in items if isinstance(i, Failure))


def test_cameras_that_cannot_be_opened(camera: type[FakeCapture], monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    with pytest.raises(MediaError, match=r"there are camera:0 \(Front camera\), camera:2 \(Microscope\)"):
        next(iter(StreamReader("camera:1")))
    camera.pictures = []
    with pytest.raises(MediaError, match="another program may be using it"):
        next(iter(StreamReader("camera:2")))
    monkeypatch.setattr("os.access", lambda *args: False)
    with pytest.raises(MediaError, match=r"not allowed to open .*video0.*usermod -aG video"):
        next(iter(StreamReader("camera:0")))
    monkeypatch.setattr(cameras, "DEVICES", tmp_path / "none")
    with pytest.raises(MediaError, match="no such camera; there is none"):
        next(iter(StreamReader("camera:0")))


# --- what is connected anew, by injected connections


class Script:
    """A connection that gives what it is told; numbers are stamps of pictures, texts damage."""

    declared_s: float | None = None

    def __init__(self, *acts: float | str | Exception | None, recording: bool = False) -> None:
        self.acts, self.recording, self.closed = acts, recording, False

    def shots(self, from_s: float) -> Iterator[StampedImage | str]:
        for act in self.acts:
            if isinstance(act, Exception):
                raise act
            yield act if isinstance(act, str) else StampedImage(PICTURE, act)

    def close(self) -> None:
        self.closed = True


class World:
    """A clock that only waiting moves, and connections in turn."""

    def __init__(self, *connections: Script | MediaError) -> None:
        self.now, self.tick_s, self._left = 0.0, 0.01, list(connections)
        self.waits: list[float] = []

    def clock(self) -> float:
        self.now += self.tick_s
        return self.now

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def connect(self) -> Connection:
        given = self._left.pop(0) if self._left else MediaError("live: refused")
        if isinstance(given, MediaError):
            raise given
        return given

    def read(self, clip: Clip = Clip(), **patience: Any) -> list[Frame | Failure]:  # noqa: B008 - frozen
        rest: dict[str, Any] = {"clock": self.clock, "wait": self.wait, "chance": lambda: 0.0}
        return list(StreamReader("rtsp://live", clip, patience=RetryPolicy(**patience), connect=self.connect, **rest))


def test_waits_double_up_to_a_limit_and_then_it_gives_up():
    world = World(Script(0.0, 0.1, ConnectionLost("gone")))
    *frames, last = world.read(attempts=5, first_s=1.0, longest_s=5.0)
    assert world.waits == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert len(frames) == 2
    assert isinstance(last, Failure)
    assert last.message == "rtsp://live: broke at 0.10 s (gone); given up after 5 attempts to reconnect (live: refused)"


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_waits_are_shortened_at_random_but_never_to_nothing(attempt: int, chance: float):
    patience = RetryPolicy(first_s=0.5, longest_s=30.0)
    longest = patience.wait_s(attempt, 0.0)
    assert longest <= 30
    assert longest / 2 <= patience.wait_s(attempt, chance) <= longest


def test_a_sender_that_comes_back_only_to_break_is_given_up_too():
    flapping = [Script(0.0, ConnectionLost("gone")) for _ in range(50)]
    items = World(*flapping).read(attempts=4)
    assert len(items) == 5 + 5
    assert isinstance(items[-1], Failure)
    assert "given up after 4 attempts" in items[-1].message


@pytest.mark.parametrize(("tick_s", "expected"), [(1.0, 9), (0.01, 3)])
def test_after_a_good_while_attempts_are_counted_anew(tick_s: float, expected: int):
    """Twelve pictures take twelve seconds of the clock, or, from a file that is sent at once, nearly none."""
    world = World(*[Script(*np.arange(12.0).tolist(), ConnectionLost("gone")) for _ in range(9)])
    world.tick_s = tick_s
    assert sum(isinstance(i, Frame) for i in world.read(attempts=2)) == expected * 12


def test_connections_are_closed_and_time_goes_on_by_the_clock_over_a_break():
    first, second = Script(5.0, 5.5, ConnectionLost("gone")), Script(77.0, 77.5)
    world = World(first, second)
    items = world.read(first_s=3.0)
    times = [i.time_s for i in items if isinstance(i, Frame)]
    assert times[:2] == [0.0, 0.5]
    assert times[2] == pytest.approx(0.5 + 3.0, abs=0.2)
    assert times[3] == pytest.approx((times[2] or 0) + 0.5)
    assert [i.index for i in items if isinstance(i, Frame)] == [0, 1, 2, 3]
    assert first.closed
    assert second.closed


def test_a_break_after_the_wanted_end_is_the_end():
    world = World(Script(0.0, 1.0, ConnectionLost("gone")), Script(0.0))
    items = world.read(Clip(end_s=3.0), first_s=5.0)
    assert len(world.waits) == 1
    assert sum(isinstance(i, Frame) for i in items) == 2


def test_what_was_live_and_is_a_recording_by_now_is_over():
    items = World(Script(0.0, 1.0, ConnectionLost("ended")), Script(0.0, 1.0, recording=True)).read()
    assert [type(i) for i in items] == [Frame, Frame]


def test_damage_is_a_row_and_reading_goes_on():
    items = World(Script(0.0, "damaged", 0.1)).read()
    assert [type(i) for i in items] == [Frame, Failure, Frame]


def test_a_sender_that_never_sends_is_an_error_and_not_tried_again():
    world = World(Script(ConnectionLost("no picture for 10 s")))
    with pytest.raises(MediaError, match=r"before the first picture.*no picture for 10 s"):
        world.read()
    assert world.waits == []


def test_a_too_large_picture_ends_it():
    with pytest.raises(MediaError, match="64 x 48 pixels; the limit is 100"):
        list(StreamReader("rtsp://live", max_pixels=100, connect=lambda: Script(0.0)))


# --- time


@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6))), st.lists(st.floats(0, 100)))
def test_time_never_goes_back(stamps: list[float | None], steps: list[float]):
    live, filed, now = Timeline(), Timeline(), 0.0
    before_live = before_filed = 0.0
    for stamp, step in zip(stamps, steps, strict=False):
        now += step
        live_s, filed_s = live.of_live(stamp, now), filed.of_file(stamp)
        assert live_s >= before_live
        assert live_s <= before_live + step + JUMP_S + 1e-6  # nor does it run away from the clock
        assert filed_s >= before_filed
        before_live, before_filed = live_s, filed_s


def test_live_time_goes_by_stamps_and_by_the_clock_where_these_are_not_sane():
    time = Timeline()
    stamps = [None, 50.0, 50.1, 50.2, 9999.0, 9999.1, 3.0, 3.1, None]
    found = [time.of_live(stamp, 10 + 0.5 * i) for i, stamp in enumerate(stamps)]
    assert found == pytest.approx([0.0, 0.5, 0.6, 0.7, 1.2, 1.3, 1.8, 1.9, 2.4])


def test_stamps_of_a_file_that_begin_anew_are_told_and_time_goes_on(tmp_path: Path, group: Path):
    half = film(tmp_path / "half.ts", group).read_bytes()
    (tmp_path / "twice.mpg").write_bytes(half + half)
    items = list(read_video(str(tmp_path / "twice.mpg")))
    times = [i.time_s or 0.0 for i in items if isinstance(i, Frame)]
    assert len(times) == 100
    assert times == pytest.approx(np.arange(100) * 0.04, abs=0.05)
    assert times == sorted(times)
    (message,) = [i.message for i in items if isinstance(i, Failure)]
    assert "time stamps go back by 1.9" in message


def test_stamps_a_little_out_of_order_are_no_event():
    time = Timeline()
    assert [time.of_file(stamp) for stamp in (0.0, 0.08, 0.04, 0.12)] == [0.0, 0.08, 0.08, 0.12]
    assert not time.gone_back_s


# --- the reading thread


def frames(count: int) -> Iterator[Frame | Failure]:
    for i in range(count):
        yield Frame(PICTURE, "x", i, i / 10)


def settled(newest: FrameThread, arrived: int) -> None:
    while newest.arrived < arrived:
        time.sleep(0.001)


def test_only_the_newest_waits_and_failures_are_never_dropped():
    def items() -> Iterator[Frame | Failure]:
        yield from frames(3)
        yield Failure("x", 3, "damaged")
        yield from frames(4)

    with closing(FrameThread(items(), keep=2)) as newest:  # type: ignore[arg-type]
        settled(newest, 7)
        found = list(newest)
    assert [type(i) for i in found] == [Failure, Frame, Frame]
    assert [i.index for i in found if isinstance(i, Frame)] == [2, 3]
    assert (newest.arrived, newest.dropped) == (7, 5)


def test_where_nothing_may_be_dropped_the_thread_waits():
    with closing(FrameThread(frames(50), keep=2, drop=lambda: False)) as newest:  # type: ignore[arg-type]
        assert [i.index for i in newest if isinstance(i, Frame)] == list(range(50))
    assert newest.dropped == 0


def test_an_error_comes_after_what_came_before_it():
    def items() -> Iterator[Frame | Failure]:
        yield from frames(2)
        raise MediaError("lost")

    with closing(FrameThread(items(), keep=5)) as newest:  # type: ignore[arg-type]
        taken = iter(newest)
        assert [next(taken).index, next(taken).index] == [0, 1]  # type: ignore[union-attr]
        with pytest.raises(MediaError, match="lost"):
            next(taken)


def test_leaving_off_ends_the_thread_even_in_a_wait():
    feed = StreamReader(
        "rtsp://live", patience=RetryPolicy(first_s=60.0), connect=lambda: Script(0.0, ConnectionLost("gone"))
    )
    before = set(threading.enumerate())
    newest = FrameThread(iter(feed), stop=feed.stop)
    assert newest.take(5.0)
    newest.close()
    assert set(threading.enumerate()) <= before


def test_in_a_batch_what_comes_too_fast_is_left_out_and_said_so(
    camera: type[FakeCapture], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    camera.pictures = [PICTURE] * 200
    monkeypatch.setattr(feeds, "RetryPolicy", lambda: RetryPolicy(attempts=0))
    with caplog.at_level(logging.WARNING, "mien"):
        items, before = open_sources(["camera:0"]), set(threading.enumerate())
        first = next(items)
        while set(threading.enumerate()) - before:  # the thread that reads
            time.sleep(0.001)
        found = [first, *items]
    assert isinstance(found[-1], Failure)
    indices = [i.index for i in found if isinstance(i, Frame)]
    assert indices[-1] == 199
    assert len(indices) < 20
    assert "frames came faster than they were read" in caplog.text


# --- the command


def test_predict_writes_what_a_stream_shows(
    server: Server, clips: dict[str, bytes], mien: Callable[..., tuple[int, str, str]], tmp_path: Path
):
    server.answers["/a.mp4"] = send(clips["first"])
    address = f"http://ann:{SECRET}@{server.host}/a.mp4"
    options = ("--detector", "whole", "--fps", "5", "--end", "1")
    code, out, err = mien("predict", address, *options, "--out", tmp_path / "a.jsonl", "--annotate", tmp_path / "seen")
    assert code == 0, err
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [row["time_s"] for row in rows] == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8])
    assert {row["track"] for row in rows} == {1}
    assert {row["source"] for row in rows} == {f"http://***@{server.host}/a.mp4"}
    assert (tmp_path / "seen/a.mp4").stat().st_size > 0
    assert SECRET not in out + err
    for path in tmp_path.iterdir():
        assert path.is_dir() or SECRET not in path.read_text()

    code, _, err = mien("predict", address, "--out", tmp_path / "b.jsonl", "--resume")
    assert code == 2
    assert "--resume" in err
    assert "refers to a video's file" in mien("predict", address, "--eaf", tmp_path / "a.eaf")[2]
    assert mien("predict", "camera:999999")[0] == 2


def test_ctrl_c_ends_what_is_live_and_keeps_what_was_read(
    camera: type[FakeCapture],
    mien: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
):
    def shots(self: object, from_s: float) -> Iterator[StampedImage]:
        yield StampedImage(PICTURE, None)
        partial = tmp_path / "a.csv.partial"
        while not (partial.exists() and partial.read_text().count("\n") == 2):  # the header, and what was just shown
            time.sleep(0.01)
        _thread.interrupt_main()
        threading.Event().wait(5)  # longer than the interrupt takes to arrive

    monkeypatch.setattr(cameras.Camera, "shots", shots)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a test before may have left its own
    try:
        code, _, err = mien("predict", "camera:0", "--detector", "whole", "--out", tmp_path / "a.csv")
    finally:
        signal.signal(signal.SIGINT, before)
    assert code == 0, err
    assert "stopped" in err
    assert "1 picture, 1 face; answer people; rows in" in err
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 2
