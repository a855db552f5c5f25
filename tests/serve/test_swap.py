"""A version swapped while requests run: none fails, every answer names its version, a bad version changes nothing."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from mien.model.bundle import load_bundle
from mien.registry import Registry, open_registry, parse_reference
from tests.serve.conftest import Running, bundle

Start = Callable[..., Running]


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """Three versions of `tiny`, the first in production."""
    monkeypatch.setenv("MIEN_REGISTRY", str(tmp_path / "registry"))
    opened = open_registry()
    for number in (1, 2, 3):
        opened.add(bundle(tmp_path, str(number)))
    opened.promote(opened.version(parse_reference("tiny@1")), expected=None)
    yield opened
    opened.close()


@pytest.fixture
def swapping(registry: Registry, start_server: Start) -> Running:
    # The registry is asked so seldom that only what a test does changes anything.
    return start_server(models=("tiny@production",), admin="127.0.0.1:0", poll_s=60.0)


def refresh(server: Running, *, again: bool = False) -> list[Any]:
    return asyncio.run_coroutine_threadsafe(server.service.refresh(again=again), server.loop).result(30)


def version(server: Running, portrait: bytes) -> int:
    return server.client.post("/v1/read", content=portrait).json()["model"]["version"]


def spoil(registry: Registry, number: int) -> None:
    path = registry.path(registry.version(parse_reference(f"tiny@{number}")))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_swaps_rollbacks_and_refusals_under_load_fail_no_request(
    swapping: Running, registry: Registry, portrait: bytes
):
    seen: Counter[tuple[int, object]] = Counter()
    going = threading.Event()
    going.set()

    def load() -> None:
        with httpx.Client(base_url=swapping.url, trust_env=False, timeout=30) as client:
            while going.is_set():
                answer = client.post("/v1/read", content=portrait)
                found = answer.json()
                seen[answer.status_code, found["model"]["version"] if "model" in found else found["error"]] += 1

    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    spoil(registry, 3)
    for _ in range(2):
        registry.promote(registry.version(parse_reference("tiny@2")), expected=1)
        assert refresh(swapping) == []
        registry.promote(registry.version(parse_reference("tiny@3")), expected=2)
        (refusal,) = refresh(swapping)
        assert "the file was altered" in refusal.why
        registry.rollback("tiny")
        registry.rollback("tiny")
        assert refresh(swapping) == []
        assert version(swapping, portrait) == 1
    going.clear()
    for thread in threads:
        thread.join()
    assert {status for status, _ in seen} == {200}
    assert {number for _, number in seen} == {1, 2}
    assert swapping.metric("mien_swaps_total", outcome="taken over") == 4
    assert swapping.metric("mien_swaps_total", outcome="refused") == 2


def test_a_version_that_was_refused_is_told_each_time_and_tried_again_when_asked(
    swapping: Running, registry: Registry, portrait: bytes
):
    good = registry.path(registry.version(parse_reference("tiny@2"))).read_bytes()
    spoil(registry, 2)
    registry.promote(registry.version(parse_reference("tiny@2")), expected=1)
    for again in (False, False, True):
        assert "altered" in refresh(swapping, again=again)[0].why
        (model,) = swapping.client.get("/v1/models").json()["models"]
        assert (model["version"], model["refused"][0]["version"]) == (1, 2)
    registry.path(registry.version(parse_reference("tiny@2"))).write_bytes(good)
    assert refresh(swapping, again=True) == []
    assert version(swapping, portrait) == 2


def test_a_swap_while_another_runs_is_told_to_wait(swapping: Running, monkeypatch: pytest.MonkeyPatch):
    from mien.serve.service import SwapInProgress

    swapping.service._busy = True
    with pytest.raises(SwapInProgress, match="one at a time"):
        refresh(swapping)
    swapping.service._busy = False
    assert refresh(swapping) == []


def test_the_registry_is_followed_without_being_told(registry: Registry, start_server: Start, portrait: bytes):
    server = start_server(models=("tiny@production",), poll_s=0.05)
    registry.promote(registry.version(parse_reference("tiny@2")), expected=1)
    deadline = time.monotonic() + 10
    while version(server, portrait) != 2 and time.monotonic() < deadline:
        pass
    assert version(server, portrait) == 2


def test_a_registry_that_is_gone_stops_nothing(
    registry: Registry, start_server: Start, portrait: bytes, monkeypatch: pytest.MonkeyPatch
):
    from mien.errors import RegistryError

    server = start_server(models=("tiny@production",), poll_s=0.02)

    def gone(*_: object) -> None:
        raise RegistryError("the registry's database does not answer")

    source: Any = server.service.slots["tiny"].source
    monkeypatch.setattr(source.registry, "aliases", gone)
    deadline = time.monotonic() + 10
    while server.metric("mien_registry_up") and time.monotonic() < deadline:
        assert version(server, portrait) == 1
    assert server.metric("mien_registry_up") == 0
    monkeypatch.undo()
    monkeypatch.setenv("MIEN_REGISTRY", "")
    while not server.metric("mien_registry_up") and time.monotonic() < deadline:
        assert version(server, portrait) == 1
    assert server.metric("mien_registry_up") == 1


def test_a_fixed_version_stays(registry: Registry, start_server: Start, portrait: bytes):
    server = start_server(models=("tiny@2",))
    registry.promote(registry.version(parse_reference("tiny@3")), expected=1)
    refresh(server)
    assert version(server, portrait) == 2


def test_a_file_that_was_replaced_is_the_next_version(tmp_path: Path, start_server: Start, portrait: bytes):
    path = bundle(tmp_path, "1").path
    server = start_server(models=(str(path),))
    before = server.client.post("/v1/read", content=portrait).json()["model"]
    path.write_bytes(bundle(tmp_path, "2").model)
    assert refresh(server) == []
    after = server.client.post("/v1/read", content=portrait).json()["model"]
    assert (before["version"], after["version"], before["sha256"] == after["sha256"]) == (1, 2, False)
    path.write_bytes(b"broken")
    with pytest.raises(Exception, match="not an ONNX model"):
        refresh(server)
    assert version(server, portrait) == 2


@pytest.fixture
def admin(registry: Registry, start_server: Start, tmp_path: Path) -> Iterator[tuple[Running, httpx.Client]]:
    server = start_server(models=("tiny@production",), admin=f"unix:{tmp_path}/admin.sock", poll_s=60.0)
    transport = httpx.HTTPTransport(uds=str(tmp_path / "admin.sock"))
    with httpx.Client(transport=transport, base_url="http://localhost", timeout=30) as client:
        yield server, client


def test_the_admin_routes_promote_roll_back_and_refuse(
    admin: tuple[Running, httpx.Client], registry: Registry, portrait: bytes
):
    server, client = admin
    done = client.post("/v1/models/tiny/promote", json={"version": 2, "why": "better"}, headers={"x-client-id": "ci"})
    assert (done.status_code, done.json()["version"], version(server, portrait)) == (200, 2, 2)
    event = registry.history("tiny", 1)[0]
    assert (event.who, event.why, "golden vectors" in event.checks) == ("ci", "better", True)
    spoil(registry, 3)
    for _ in range(2):
        refused = client.post("/v1/models/tiny/promote", json={"version": 3})
        assert refused.status_code == 422
        assert "altered" in refused.json()["error"]
    assert registry.aliases("tiny")["production"].version == 2  # a version that cannot serve moves no alias
    assert client.post("/v1/models/tiny/rollback", json={}).json()["version"] == 1
    assert version(server, portrait) == 1
    first = client.post("/v1/models/tiny/rollback")
    assert (first.status_code, "its first" in first.json()["error"]) == (422, True)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/models/tiny/promote", {"version": 9}, 422),
        ("/v1/models/tiny/promote", {"version": "2"}, 422),
        ("/v1/models/tiny/promote", {"version": 2**40}, 422),
        ("/v1/models/tiny/promote", {}, 422),
        ("/v1/models/tiny/promote", [2], 422),
        ("/v1/models/nobody/promote", {"version": 2}, 404),
        ("/v2/repository/models/nobody/load", {}, 404),
        ("/v2/repository/models/tiny/unload", {}, 409),
    ],
)
def test_wrong_admin_requests_are_told(idle_admin: httpx.Client, path: str, body: object, status: int):
    answer = idle_admin.post(path, json=body)
    assert (answer.status_code, bool(answer.json()["error"])) == (status, True)


def test_bundles_are_uploaded_and_bad_ones_are_not(
    admin: tuple[Running, httpx.Client], registry: Registry, tmp_path: Path
):
    _, client = admin
    good = bundle(tmp_path, "4").model
    answers = [client.post("/v1/models", params={"note": "mine"}, content=good) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 200]
    assert answers[0].json()["number"] == 4
    altered = bytearray(good)
    altered[len(good) // 2] ^= 1
    for data, why in (
        (bytes(altered), "altered"),
        (b"PK\x03\x04 weights", "never opens one"),
        (b"\x80\x04K\x01.", "never opens one"),
        (b"hello", "not an ONNX model"),
        (b"", "not an ONNX model"),
    ):
        answer = client.post("/v1/models", content=data)
        assert answer.status_code == 422
        assert why in answer.json()["error"]
    other = bundle(tmp_path, "5", classes=("happy", "neutral", "angry"))
    assert client.post("/v1/models", content=other.model).status_code == 201
    refused = client.post("/v1/models/tiny/promote", json={"version": 5})
    assert "happy, neutral, sad become happy, neutral, angry" in refused.json()["error"]
    assert client.post("/v1/models/tiny/promote", json={"version": 5, "new_classes": True}).status_code == 200
    assert len(registry.versions("tiny")) == 5


def test_the_repository_extension_lists_and_loads(admin: tuple[Running, httpx.Client], registry: Registry):
    _, client = admin
    assert [entry["name"] for entry in client.post("/v2/repository/index").json()] == ["tiny", "tiny-pictures"]
    registry.promote(registry.version(parse_reference("tiny@2")), expected=1)
    assert client.post("/v2/repository/models/tiny/load").status_code == 200
    assert client.get("/v1/models").json()["models"][0]["version"] == 2
    assert client.post("/v1/refresh").status_code == 200


def test_a_start_with_a_bad_model_says_why(start_server: Start, tmp_path: Path):
    from mien.errors import MienError

    (tmp_path / "bad.onnx").write_bytes(b"hello")
    for model in (str(tmp_path / "bad.onnx"), "nobody", str(tmp_path / "w.pth")):
        with pytest.raises(MienError):
            start_server(models=(model,))
    assert load_bundle("default")
