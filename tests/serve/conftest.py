"""A server in a thread of the test's process, on a free port of loopback."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="the extra serve is not installed")
pytest.importorskip("uvicorn", reason="the extra serve is not installed")
httpx = pytest.importorskip("httpx", reason="httpx is not installed")

from mien.model.bundle import Bundle, write_bundle  # noqa: E402
from mien.registry import open_registry, parse_reference  # noqa: E402
from mien.serve.options import ServeOptions  # noqa: E402
from mien.serve.server import run_loop, run_server  # noqa: E402
from mien.serve.service import Service  # noqa: E402
from tests.models import tiny_golden, tiny_manifest, tiny_onnx  # noqa: E402


@dataclass
class Running:
    """A server that runs, and a client for it."""

    service: Service
    url: str
    client: Any
    stop: Callable[[], None]
    loop: asyncio.AbstractEventLoop = field(repr=False)

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.url.removeprefix("http://").strip("/").split(":")
        return host, int(port)

    def settle(self) -> None:
        """Wait until nothing is in flight: a client has its answer a moment before the server counts it."""
        deadline = time.monotonic() + 30
        while self.metric("mien_in_flight") and time.monotonic() < deadline:
            time.sleep(0.002)
        assert self.metric("mien_in_flight") == 0

    def metric(self, name: str, **labels: str) -> float:
        return self.service.metrics.registry.get_sample_value(name, labels) or 0.0


def start(**options: Any) -> Running:
    """Start a server; it answers when this returns."""
    ready, running = threading.Event(), {}

    async def main() -> None:
        loop, stopping = asyncio.get_running_loop(), asyncio.Event()

        def on_ready(service: Service, url: str) -> None:
            client = httpx.Client(base_url=url, timeout=30, trust_env=False)
            stop = lambda: loop.call_soon_threadsafe(stopping.set)  # noqa: E731
            running["server"] = Running(service, url, client, stop, loop)
            ready.set()

        try:
            await run_server(
                ServeOptions(**{"port": 0, "models": ("default",), "workers": 2, **options}), stopping, on_ready
            )
        finally:
            ready.set()

    thread = threading.Thread(target=lambda: running.update(error=_run(main)), daemon=True)
    thread.start()
    ready.wait(60)
    if "server" not in running:
        thread.join(10)
        raise running["error"]
    server: Running = running["server"]
    stop = server.stop

    def stop_and_wait() -> None:
        server.client.close()
        if thread.is_alive():
            stop()
        thread.join(30)

    server.stop = stop_and_wait
    return server


def _run(main: Callable[[], Any]) -> Exception | None:
    try:
        run_loop(main())
    except Exception as error:
        return error
    return None


@pytest.fixture
def start_server() -> Iterator[Callable[..., Running]]:
    """Start servers with options of the test's own; they end with it."""
    servers: list[Running] = []

    def begin(**options: Any) -> Running:
        servers.append(start(**options))
        return servers[-1]

    yield begin
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def server() -> Iterator[Running]:
    """One server for all tests that change nothing."""
    running = start(max_body=2**20, max_pixels=4_000_000, body_timeout_s=0.5)
    yield running
    running.stop()


def bundle(folder: Path, created: str, **changes: Any) -> Bundle:
    """A sealed bundle `tiny`; another `created` makes another file."""
    manifest = tiny_manifest(created=created, **changes)
    return write_bundle(folder / f"{created}.onnx", tiny_onnx(), manifest, tiny_golden())


@pytest.fixture(scope="session")
def idle_admin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A client for the admin routes of one server that follows an alias, for all tests that change nothing."""
    folder = tmp_path_factory.mktemp("idle")
    registry = open_registry(str(folder / "registry"))
    for number in ("1", "2"):
        registry.add(bundle(folder, number))
    registry.promote(registry.version(parse_reference("tiny@1")), expected=None)
    registry.close()
    server = start(
        models=("tiny@production",), registry=str(folder / "registry"), admin=f"unix:{folder}/admin.sock", poll_s=60.0
    )
    with httpx.Client(transport=httpx.HTTPTransport(uds=f"{folder}/admin.sock"), base_url="http://localhost") as client:
        yield client
    server.stop()


@pytest.fixture(scope="session")
def portrait(astronaut: Path) -> bytes:
    """The bundled portrait, small enough to be read in milliseconds."""
    import io

    from PIL import Image

    data = io.BytesIO()
    Image.open(astronaut).resize((256, 256)).save(data, "JPEG", quality=90)
    return data.getvalue()
