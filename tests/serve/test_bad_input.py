"""What strangers send: each gets a clear answer with the right status, and the server goes on."""

from __future__ import annotations

import contextlib
import io
import pickle
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mien.errors import ServeError
from mien.serve import connections
from mien.serve.options import ServeOptions
from mien.web.site import page_files
from tests.serve.conftest import Running

Start = Callable[..., Running]


@pytest.fixture(autouse=True)
def goes_on(server: Running, portrait: bytes) -> Iterator[None]:
    """After every test here, the server still reads."""
    yield
    assert server.client.post("/v1/read", content=portrait).status_code == 200
    server.settle()
    assert server.metric("mien_queue_pictures") == 0
    assert server.metric("mien_queue_bytes") == 0


def png(width: int, height: int) -> bytes:
    """A PNG's header that promises so many pixels, and nothing behind it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def post(server: Running, **request: Any) -> tuple[int, str]:
    answer = server.client.post("/v1/read", **request)
    return answer.status_code, answer.json()["error"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"hello", "not a picture in a known format"),
        (png(50_000, 50_000), "larger than the limit"),
        (png(2500, 2000), "is larger than the limit of 4,000,000 pixels"),
        (png(10, 10), "truncated or damaged"),
        (pickle.dumps({"a": 1}), "not a picture in a known format"),
        (b"/etc/passwd", "not a picture in a known format"),
    ],
)
def test_what_is_no_picture_is_told(server: Running, content: bytes, why: str):
    status, error = post(server, content=content, headers={"content-type": "image/jpeg"})
    assert status == 422
    assert why in error


def test_a_type_that_lies_does_not_matter(server: Running, portrait: bytes):
    answer = server.client.post("/v1/read", content=portrait, headers={"content-type": "image/png"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("request_", "status", "why"),
    [
        ({"content": b""}, 422, "has no picture in it"),
        ({"json": {"pictures": []}}, 422, "has no picture in it"),
        ({"json": {"pictures": "x"}}, 422, 'expected JSON {"pictures"'),
        ({"json": [1]}, 422, 'expected JSON {"pictures"'),
        ({"json": {"pictures": ["http://example.org/a.jpg"]}}, 422, "the server fetches no addresses"),
        ({"json": {"pictures": ["/etc/passwd"]}}, 422, "opens no paths"),
        ({"json": {"pictures": [7]}}, 422, "expected base64 text, found int"),
        ({"json": {"pictures": ["x"] * 17}}, 413, "at most 16"),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 422, "not JSON"),
        ({"content": b"[" * 100_000, "headers": {"content-type": "application/json"}}, 422, "not JSON"),
        ({"files": [("picture", (f"{n}", b"x")) for n in range(17)]}, 413, "at most 16"),
        ({"files": [("photo", ("a", b"x"))]}, 422, "has no picture in it"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 422, "multipart body is damaged"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=a"}}, 422, ""),
        ({"content": b"a=b", "headers": {"content-type": "application/x-www-form-urlencoded"}}, 415, "is not read"),
        ({"content": b"x", "params": {"min_face": "0"}}, 422, "min_face: expected pixels"),
        ({"content": b"x", "params": {"min_face": "nan"}}, 422, "min_face: expected pixels"),
        ({"content": b"x", "params": {"annotate": "maybe"}}, 422, "annotate: expected true or false"),
        ({"content": b"x", "headers": {"accept": "video/mp4"}}, 406, "none of the accepted formats"),
        ({"content": b"x" * (2**20 + 1)}, 413, "larger than 1,048,576 bytes"),
        ({"content": iter([b"x" * 600_000, b"x" * 600_000])}, 413, "larger than 1,048,576 bytes"),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(server: Running, request_: dict[str, Any], status: int, why: str):
    found, error = post(server, **request_)
    assert found == status
    assert why in error


def test_one_bad_text_among_pictures_is_an_error_of_its_own(server: Running, portrait: bytes):
    import base64

    texts = [base64.b64encode(portrait).decode(), "http://example.org/a.jpg"]
    answer = server.client.post("/v1/read", json={"pictures": texts})
    assert answer.status_code == 200
    assert [picture["error"] is None for picture in answer.json()["pictures"]] == [True, False]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_another_method_is_refused(server: Running, method: str):
    answer = server.client.request(method, "/v1/read")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_the_admin_routes_are_not_on_the_public_address(server: Running):
    for method, path in (
        ("POST", "/v1/models"),
        ("POST", "/v1/models/default/promote"),
        ("POST", "/v2/repository/index"),
    ):
        assert server.client.request(method, path).status_code in (404, 405)


def raw(server: Running, data: bytes, wait: float = 5.0) -> bytes:
    """Send bytes as they are; return what comes until the server closes, or until nothing comes any more."""
    with socket.create_connection(server.address, timeout=wait) as connection:
        connection.sendall(data)
        received = b""
        try:
            while piece := connection.recv(65536):
                received += piece
                if b"\r\n\r\n" in received and b"}" in received:
                    break
        except (TimeoutError, ConnectionError):
            pass
        return received


def head(length: object, more: str = "") -> bytes:
    return f"POST /v1/read HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{more}\r\n".encode()


def test_a_body_that_comes_too_slowly_is_given_up(server: Running):
    assert b" 408 " in raw(server, head(1000) + b"a few bytes").split(b"\r\n")[0]


def test_a_body_that_is_cut_off_is_dropped(server: Running):
    with socket.create_connection(server.address) as connection:
        connection.sendall(head(1000) + b"a few bytes")
    server.settle()


@pytest.mark.parametrize("length", ["abc", "-1", "1e3", "99999999999999999999", ""])
def test_a_length_that_lies_is_refused(server: Running, length: str):
    status = raw(server, head(length) + b"x" * 10).split(b"\r\n")[0]
    assert b" 400 " in status or b" 413 " in status


@pytest.mark.parametrize(
    "garbage", [b"\x16\x03\x01\x02\x00\x01\x00\x01", b"GET\r\n\r\n", b"\0" * 100, b"GET / HTTP/1.1\r\n\r\n"]
)
def test_garbage_is_no_request(server: Running, garbage: bytes):
    assert b" 400 " in raw(server, garbage, wait=2).split(b"\r\n")[0]


CHUNKED = b"POST /v1/read HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    "endless",
    [
        b"GET / HTTP/1.1\r\n" + b"X-A: b\r\n" * 20_000,
        b"GET / HTTP/1.1\r\nX-A: " + b"b" * 200_000,
        b"GET /" + b"b" * 200_000,
        CHUNKED + b"\r\n1\r\nx\r\n0\r\n" + b"X-A: b\r\n" * 100_000,
        CHUNKED + b"\r\n1;" + b"b" * 200_000,
        CHUNKED + b"Content-Length: 3\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    ],
    ids=["headers", "header", "address", "trailers", "extension of a chunk", "two lengths"],
)
def test_what_is_no_body_and_has_no_end_is_cut_off(server: Running, endless: bytes):
    assert b" 400 " in raw(server, endless).split(b"\r\n")[0]


def test_requests_that_come_at_once_are_answered_in_turn(server: Running):
    one = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n"
    with socket.create_connection(server.address, timeout=5) as connection:
        connection.sendall((one + b"\r\n") * 2 + one + b"Connection: close\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.count(b"HTTP/1.1 200 ") == 3


def test_connections_that_say_nothing_keep_nobody_out(
    start_server: Start, portrait: bytes, monkeypatch: pytest.MonkeyPatch
):
    """Scaled down from thousands: more silent connections than the server takes at once, while one client reads."""
    monkeypatch.setattr(connections, "MOST", 30)
    server = start_server()
    silent = [socket.create_connection(server.address) for _ in range(100)]
    assert server.client.post("/v1/read", content=portrait).status_code == 200
    closed = 0
    for connection in silent:
        connection.settimeout(0.5)
        try:
            closed += connection.recv(1) == b""
        except ConnectionResetError:
            closed += 1
        except TimeoutError:
            break
        finally:
            connection.close()
    assert closed >= 60


def test_a_silent_connection_is_closed_in_time(start_server: Start, monkeypatch: pytest.MonkeyPatch):
    real = connections.patient_protocol
    monkeypatch.setattr("mien.serve.http.patient_protocol", lambda most: real(most, header_s=0.1))
    server = start_server()
    for first in (b"", b"POST /v1/re"):
        with socket.create_connection(server.address, timeout=5) as connection:
            connection.sendall(first)
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(1) == b""


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"host": "localhost.evil.example"}, 421),
        ({"host": ""}, 421),
        ({"host": "localhost:1234"}, 200),
        ({"host": "[::1]:80"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost:99999"}, 403),
    ],
)
def test_foreign_hosts_and_origins_are_refused(server: Running, portrait: bytes, headers: dict[str, str], status: int):
    answer = server.client.post("/v1/read", content=portrait, headers=headers)
    assert answer.status_code == status
    assert "access-control-allow-origin" not in answer.headers


def test_an_origin_that_is_named_may_call(start_server: Start, portrait: bytes):
    server = start_server(origins=("https://app.example.org",), hosts=("faces.example.org",))
    headers = {"origin": "https://app.example.org", "host": "faces.example.org"}
    answer = server.client.post("/v1/read", content=portrait, headers=headers)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "https://app.example.org")
    assert server.client.options("/v1/read", headers=headers).headers["access-control-allow-methods"] == "GET, POST"
    own = {"origin": server.url.rstrip("/")}
    assert server.client.post("/v1/read", content=portrait, headers=own).status_code == 200


def test_a_token_is_needed_where_one_is_set(start_server: Start, portrait: bytes, tmp_path: Path):
    (tmp_path / "token").write_text("a-token-of-some-length\n")
    server = start_server(token_file=tmp_path / "token")
    answers = [
        server.client.post("/v1/read", content=portrait, headers=headers)
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic a-token-of-some-length"})
    ]
    assert [answer.status_code for answer in answers] == [401, 401, 401]
    assert len({answer.text for answer in answers}) == 1  # no hint what was wrong
    right = {"authorization": "Bearer a-token-of-some-length"}
    assert server.client.post("/v1/read", content=portrait, headers=right).status_code == 200
    assert server.client.get("/metrics").status_code == 401
    assert server.client.get("/v2/health/ready").status_code == 200
    assert server.client.get("/").status_code == 200


def test_a_path_that_is_not_the_pages_needs_the_token(start_server: Start, tmp_path: Path):
    (tmp_path / "token").write_text("a-token-of-some-length\n")
    server = start_server(token_file=tmp_path / "token")
    right = {"authorization": "Bearer a-token-of-some-length"}
    for path in ("/v3/new", "/v1", "/new-route", "/metrics/", "/openapi.json", "/app.js/../metrics", "/samples"):
        assert server.client.get(path).status_code == 401, path
        assert server.client.get(path, headers=right).status_code != 401, path


def test_every_file_of_the_page_needs_no_token(start_server: Start, tmp_path: Path):
    (tmp_path / "token").write_text("a-token-of-some-length\n")
    server = start_server(token_file=tmp_path / "token")
    for name in page_files(server=True):
        assert server.client.get(f"/{name}").status_code == 200, name


def test_other_machines_need_a_token_or_a_decision(tmp_path: Path):
    with pytest.raises(ServeError, match="give a token file"):
        ServeOptions(host="0.0.0.0").token()
    assert ServeOptions(host="0.0.0.0", open=True).token() == ""
    (tmp_path / "short").write_text("short")
    with pytest.raises(ServeError, match="at least 16 printable"):
        ServeOptions(token_file=tmp_path / "short").token()
    with pytest.raises(ServeError, match="cannot be read"):
        ServeOptions(token_file=tmp_path / "none").token()


def test_an_address_that_is_taken_is_told(server: Running, start_server: Start):
    with pytest.raises(ServeError, match="cannot listen there"):
        start_server(port=server.address[1])


def test_a_failure_of_ours_is_500_and_told_without_details(
    start_server: Start, portrait: bytes, monkeypatch: pytest.MonkeyPatch
):
    from mien.serve import reader

    server = start_server()

    def broken(*_: object, **__: object) -> None:
        raise MemoryError("secret detail")

    monkeypatch.setattr(reader.Recognizer, "read_all", broken)
    answer = server.client.post("/v1/read", content=portrait)
    assert answer.status_code == 500
    assert "MemoryError" in answer.json()["error"]
    assert "secret" not in answer.text


def test_a_picture_reaches_no_disk(server: Running, monkeypatch: pytest.MonkeyPatch):
    """Large parts of a form would be spooled to a file by default."""
    import tempfile

    opened: list[str] = []
    real = tempfile.SpooledTemporaryFile.rollover
    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", lambda self: (opened.append("x"), real(self)))
    data = io.BytesIO()
    Image.effect_noise((900, 900), 90).save(data, "BMP")
    answer = server.client.post("/v1/read", files=[("picture", ("noise.bmp", data.getvalue()))])
    assert (answer.status_code, opened) == (200, [])
