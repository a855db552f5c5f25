"""Shadow and canary: a shadow never delays, a canary stops by itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.model.bundle import load_bundle
from mien.pipeline import Recognizer
from mien.registry import Reference, Registry, open_registry
from mien.serve import canary as canary_module
from mien.serve.canary import Canary
from mien.serve.read_options import ReadOptions
from mien.serve.reader import DetectorChoice, Picture, Reader
from mien.serve.serving import Serving, load_serving
from mien.serve.shadow import WAITING, Shadow
from tests.serve.conftest import Running, bundle
from tests.serve.test_swap import refresh, version

Start = Callable[..., Running]


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """Version 2 of `tiny` has its first and last class swapped: it always disagrees."""
    monkeypatch.setenv("MIEN_REGISTRY", str(tmp_path / "registry"))
    opened = open_registry()
    opened.add(bundle(tmp_path, "1"))
    opened.add(bundle(tmp_path, "2", classes=("sad", "neutral", "happy")))
    opened.promote(opened.version(Reference("tiny", 1, None)), expected=None)
    yield opened
    opened.close()


@pytest.fixture
def admin(registry: Registry, start_server: Start, tmp_path: Path) -> Iterator[tuple[Running, httpx.Client]]:
    server = start_server(models=("tiny@production",), admin=f"unix:{tmp_path}/admin.sock", poll_s=60.0)
    transport = httpx.HTTPTransport(uds=str(tmp_path / "admin.sock"))
    with httpx.Client(transport=transport, base_url="http://localhost", timeout=30) as client:
        yield server, client


def test_a_shadow_sees_what_production_saw(admin: tuple[Running, httpx.Client], registry: Registry, portrait: bytes):
    server, client = admin
    assert client.put("/v1/models/tiny/traffic", json={"shadow": {"version": 2}}).status_code == 200
    first = server.client.post("/v1/read", content=portrait).json()
    for _ in range(4):
        assert version(server, portrait) == 1
    shadow = server.service.slots["tiny"].shadow
    assert shadow
    assert shadow.wait(10)
    (about,) = server.client.get("/v1/models").json()["models"]
    assert about["shadow"]["version"] == 2
    assert about["shadow"]["faces"] == about["shadow"]["disagreements"] == 5
    shown = first["pictures"][0]["faces"][0]["probabilities"]
    assert about["shadow"]["mean_distance"] == pytest.approx(abs(shown["happy"] - shown["sad"]), abs=1e-4)
    assert server.metric("mien_shadow_disagreements_total", version="2") == 5
    assert client.put("/v1/models/tiny/traffic", json={"shadow": None}).json()["shadow"] is None
    assert [event.kind for event in registry.history("tiny", 2)] == ["stop", "promote"]


def test_a_shadow_that_is_behind_drops_and_counts(tmp_path: Path, portrait: bytes, monkeypatch: pytest.MonkeyPatch):
    from mien.serve import shadow as shadow_module
    from mien.serve.metrics import Metrics

    go, real = threading.Event(), shadow_module.classify
    monkeypatch.setattr(shadow_module, "classify", lambda *both: go.wait(20) and real(*both))
    serving = tiny_serving(tmp_path, "3")
    shadow = Shadow(serving, Metrics())
    readings = Reader(Recognizer(load_bundle(tmp_path / "3.onnx"), threads=1), DetectorChoice()).read(
        Picture(portrait, "a"), ReadOptions()
    )
    for _ in range(WAITING + 20):
        shadow.see(readings.readings, ReadOptions())  # never waits
    assert shadow.dropped >= 19
    go.set()
    assert shadow.wait(10)
    assert shadow.faces + shadow.dropped == WAITING + 20
    shadow.close()


def tiny_serving(folder: Path, created: str) -> Serving:
    loaded = bundle(folder, created)
    return load_serving(loaded, "tiny", int(created), workers=2, detector=DetectorChoice(), max_pixels=10**7)


def test_a_canary_answers_its_share_and_each_client_gets_one_version(
    admin: tuple[Running, httpx.Client], portrait: bytes
):
    server, client = admin
    wanted = {"canary": {"version": 2, "percent": 50}}
    assert client.put("/v1/models/tiny/traffic", json=wanted).json()["canary"]["share"] == 0.5
    answers = {
        key: {
            server.client.post("/v1/read", content=portrait, headers={"x-client-id": key}).json()["model"]["version"]
            for _ in range(2)
        }
        for key in map(str, range(10))
    }
    assert all(len(versions) == 1 for versions in answers.values())
    assert {version for versions in answers.values() for version in versions} == {1, 2}
    taken = server.metric("mien_canary_requests_total", version="2")
    assert taken == 2 * sum(versions == {2} for versions in answers.values())
    assert server.client.post("/v1/read", params={"model": "tiny@2"}, content=portrait).json()["model"]["version"] == 2
    assert client.put("/v1/models/tiny/traffic", json={"canary": {"version": 2, "percent": 0}}).status_code == 200
    assert {version(server, portrait) for _ in range(5)} == {1}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"other": None},
        {"canary": 5},
        {"canary": {"version": 2, "percent": 101}},
        {"canary": {"version": 2, "percent": "x"}},
        {"shadow": {"version": 9}},
        {"shadow": {}},
    ],
)
def test_wrong_traffic_is_told(idle_admin: httpx.Client, body: dict[str, Any]):
    answer = idle_admin.put("/v1/models/tiny/traffic", json=body)
    assert (answer.status_code, bool(answer.json()["error"])) == (422, True)


def test_a_canary_that_fails_stops_and_no_client_notices(
    admin: tuple[Running, httpx.Client], registry: Registry, portrait: bytes, monkeypatch: pytest.MonkeyPatch
):
    server, client = admin
    client.put("/v1/models/tiny/traffic", json={"canary": {"version": 2, "percent": 100}})
    real = Reader.read

    def read(self: Reader, picture: Picture, wish: ReadOptions) -> Any:
        result = real(self, picture, wish)
        if self.recognizer.classes[0] == "sad":
            result.error, result.ours = "the server failed", True
        return result

    monkeypatch.setattr(Reader, "read", read)
    answers = [server.client.post("/v1/read", content=portrait) for _ in range(canary_module.ERRORS)]
    assert [(answer.status_code, answer.json()["model"]["version"]) for answer in answers] == [(200, 1)] * len(answers)
    (about,) = server.client.get("/v1/models").json()["models"]
    assert about["canary"] is None
    assert about["refused"][0]["why"].startswith("stopped: it failed on 3 pictures")
    deadline = time.monotonic() + 5
    while "canary" in registry.aliases("tiny") and time.monotonic() < deadline:
        time.sleep(0.01)
    event = registry.history("tiny", 1)[0]
    assert (event.kind, event.who, event.to_version) == ("stop", "mien serve", None)
    assert server.metric("mien_canary_stops_total") == 1


def test_a_canary_that_is_slow_stops(tmp_path: Path):
    mine, production = tiny_serving(tmp_path, "2"), tiny_serving(tmp_path, "1")
    canary = Canary(mine, 0.5)
    for _ in range(canary_module.ENOUGH):
        canary.note(production, 0.010, failed=False)
        canary.note(mine, 0.012, failed=False)
    assert canary.verdict() == ""
    for _ in range(canary_module.ENOUGH):
        canary.note(mine, 0.030, failed=False)
    assert canary.verdict() == "its 99th percentile is 30 ms a picture, more than 20 ms"


@settings(max_examples=15)
@given(st.floats(0, 1))
def test_a_canarys_share_of_clients_is_its_share(share: float):
    from types import SimpleNamespace

    serving: Any = SimpleNamespace(sha256="ab" * 32)
    canary = Canary(serving, share)
    taken = np.mean([canary.takes(str(key)) for key in range(800)])
    assert abs(taken - share) < 0.08


def test_traffic_survives_a_restart(registry: Registry, start_server: Start):
    second = registry.version(Reference("tiny", 2, None))
    registry.promote(second, "canary", expected=None, share=0.25)
    registry.promote(second, "shadow", expected=None)
    server = start_server(models=("tiny@production",), poll_s=60.0)
    (about,) = server.client.get("/v1/models").json()["models"]
    assert (about["canary"]["share"], about["shadow"]["version"]) == (0.25, 2)
    registry.stop("tiny", "canary", why="done")
    registry.rollback("tiny", "shadow")
    refresh(server)
    (about,) = server.client.get("/v1/models").json()["models"]
    assert (about["canary"], about["shadow"]) == (None, None)
