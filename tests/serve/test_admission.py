"""Too much to do: who is turned away, when they may come back, and what becomes of those who wait."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.serve.admission import JITTER, AdmissionGate, Overloaded
from mien.serve.metrics import Metrics
from mien.serve.reader import Reader
from tests.serve.conftest import Running

Start = Callable[..., Running]


def make_gate(workers: int = 2, queue: int = 4, queue_bytes: int = 1000) -> AdmissionGate:
    return AdmissionGate(workers, queue, queue_bytes, Metrics())


def test_room_is_for_pictures_and_for_bytes():
    gate = make_gate()
    with gate.admit(6, 900), pytest.raises(Overloaded, match="6 pictures are waiting, and 6 may"), gate.admit(1, 1):
        pass
    with gate.admit(1, 900), pytest.raises(Overloaded, match="900 bytes are waiting"), gate.admit(1, 200):
        pass
    assert (gate.pictures, gate.size) == (0, 0)


def test_an_idle_server_takes_what_is_allowed_at_all():
    gate = make_gate()
    with gate.admit(1, 0) as ticket:
        gate.grow(ticket, 15, 5000)
        assert (gate.pictures, gate.size) == (16, 5000)
    assert (gate.pictures, gate.size) == (0, 0)


def test_when_to_come_back_follows_from_the_load():
    gate = make_gate(workers=2, queue=100)
    for _ in range(500):
        gate.note(0.2)
    with gate.admit(50, 0):
        # 50 pictures of 0.2 s on two workers take 5 s.
        assert 4.9 < gate.retry_after_s() < 5.1 * (1 + JITTER)


@given(st.lists(st.tuples(st.integers(1, 16), st.integers(0, 500), st.booleans()), max_size=30))
def test_whatever_comes_and_goes_the_counts_come_back_to_zero(visits: list[tuple[int, int, bool]]):
    gate = make_gate()
    for pictures, size, nested in visits:
        with contextlib.suppress(Overloaded), gate.admit(pictures, size) as ticket:
            if nested:
                gate.grow(ticket, pictures, size)
            assert gate.pictures == ticket.pictures
    assert (gate.pictures, gate.size) == (0, 0)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Readers wait until this is set."""
    go, real = threading.Event(), Reader.read

    def read(self: Reader, *rest: object) -> object:
        go.wait(20)
        return real(self, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Reader, "read", read)
    yield go
    go.set()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.002)
    assert condition()


def test_a_full_queue_answers_at_once_and_those_let_in_are_served(
    start_server: Start, portrait: bytes, held: threading.Event
):
    server = start_server(workers=1, queue=2)
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(httpx.post, f"{server.url}v1/read", content=portrait, timeout=30) for _ in range(3)]
        until(lambda: server.metric("mien_queue_pictures") == 3)
        refused = server.client.post("/v1/read", content=portrait)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["retry_after_s"] > 0
        held.set()
        assert [future.result().status_code for future in waiting] == [200, 200, 200]
    assert server.client.post("/v1/read", content=portrait).status_code == 200
    assert server.metric("mien_rejected_total", reason="pictures") == 1


def test_who_waits_too_long_is_told_and_not_read(start_server: Start, portrait: bytes, held: threading.Event):
    server = start_server(workers=1, timeout_s=0.2)
    answers = [server.client.post("/v1/read", content=portrait) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [504, 504]
    held.set()
    until(lambda: server.metric("mien_pictures_total", outcome="read") == 1)  # the first had begun, the second had not
    assert server.client.post("/v1/read", content=portrait).status_code == 200
    assert server.metric("mien_pictures_total", outcome="read") == 2


def test_what_a_client_that_went_away_had_waiting_is_not_read(
    start_server: Start, portrait: bytes, held: threading.Event
):
    server = start_server(workers=1)
    for _ in range(2):
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{server.url}v1/read", content=portrait, timeout=0.15)
    until(lambda: server.metric("mien_rejected_total", reason="client gone") == 2)
    assert server.metric("mien_queue_pictures") == 0
    held.set()
    assert server.client.post("/v1/read", content=portrait).status_code == 200
    assert server.metric("mien_pictures_total", outcome="read") == 2  # the one begun, and the last


def test_a_client_has_one_live_frame_in_flight(start_server: Start, portrait: bytes, held: threading.Event):
    server = start_server()
    mine, other = {"x-client-id": "me"}, {"x-client-id": "you"}
    with ThreadPoolExecutor(2) as pool:
        url = f"{server.url}v1/live"
        first = pool.submit(httpx.post, url, content=portrait, headers=mine, timeout=30)
        until(lambda: server.metric("mien_queue_pictures") == 1)
        assert server.client.post("/v1/live", content=portrait, headers=mine).status_code == 429
        second = pool.submit(httpx.post, url, content=portrait, headers=other, timeout=30)
        until(lambda: server.metric("mien_queue_pictures") == 2)
        held.set()
        assert [first.result().status_code, second.result().status_code] == [200, 200]
    assert server.client.post("/v1/live", content=portrait, headers=mine).status_code == 200


def test_a_frame_of_a_camera_finds_room_where_pictures_find_none(
    start_server: Start, portrait: bytes, held: threading.Event, monkeypatch: pytest.MonkeyPatch
):
    server = start_server(workers=1, queue=1)
    sent = {"v1/read": portrait, "v1/live": portrait + b"frame"}
    order: list[bool] = []
    real = Reader._frames
    monkeypatch.setattr(
        Reader,
        "_frames",
        lambda self, picture, whole: (order.append(picture.data != portrait), real(self, picture, whole=whole))[1],
    )

    def post(path: str) -> int:
        return httpx.post(f"{server.url}{path}", content=sent[path], timeout=30).status_code

    with ThreadPoolExecutor(3) as pool:
        waiting = []
        for count, path in enumerate(("v1/read", "v1/read", "v1/live"), 1):
            waiting.append(pool.submit(post, path))
            until(lambda count=count: server.metric("mien_queue_pictures") == count)
        assert server.client.post("/v1/read", content=portrait).status_code == 429
        assert server.client.post("/v1/live", content=portrait).status_code == 429  # one a worker, and no more
        held.set()
        assert [future.result() for future in waiting] == [200, 200, 200]
    assert order == [False, True, False]  # the picture that waited saw the frame go first


def test_what_is_in_flight_at_the_end_is_answered(start_server: Start, portrait: bytes, held: threading.Event):
    server = start_server()
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(httpx.post, f"{server.url}v1/read", content=portrait, timeout=30)
        until(lambda: server.metric("mien_queue_pictures") == 1)
        stopped = pool.submit(server.stop)
        until(lambda: _refused(server))
        held.set()
        assert waiting.result().status_code == 200
        stopped.result()


def _refused(server: Running) -> bool:
    try:
        httpx.get(f"{server.url}v2/health/live", timeout=2)
    except httpx.HTTPError:
        return True
    return False
