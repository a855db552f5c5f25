"""Runs the service: addresses, signals, and an orderly end."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from mien.errors import MienError, ServeError, reason
from mien.serve.options import ServeOptions, is_loopback
from mien.serve.service import Service, SwapInProgress

SWITCH_S = 0.0005
"""So long a thread may hold the interpreter lock when others want it."""

UNIX = "unix:"

_log = logging.getLogger("mien.serve")


OnReady = Callable[[Service, str], None]


def serve(options: ServeOptions, on_ready: OnReady = lambda service, url: None) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Args:
        options: everything there is to choose.
        on_ready: called once, with the service and the page's address, when requests are taken.

    Raises:
        ServeError: an address that cannot be used, or a token that is missing.
        MienError: a model cannot serve.
    """
    options.token()  # said before anything is loaded
    run_loop(_serve_until_signal(options, on_ready))


def run_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine in an event loop that answers a request in a third of the time of asyncio's own.

    uvloop is not made for Windows; there it is asyncio's.
    """
    # The loop waits at most so long for the interpreter lock when a worker computes in Python; 5 ms is the default.
    sys.setswitchinterval(SWITCH_S)
    try:
        from uvloop import run
    except ImportError:
        from asyncio import run
    run(main)


async def _serve_until_signal(options: ServeOptions, on_ready: OnReady) -> None:
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()

    def follow_signals(service: Service) -> None:
        if sys.platform == "win32":
            return  # loops there take no handlers; Ctrl-C interrupts the run, which ends in the same order
        loop.add_signal_handler(signal.SIGTERM, lambda: begin_stop(service, stopping, options.drain_s))
        loop.add_signal_handler(signal.SIGINT, lambda: begin_stop(service, stopping, 0))
        loop.add_signal_handler(signal.SIGHUP, lambda: _keep(loop.create_task(_look_again(service))))

    await run_server(options, stopping, on_ready, follow_signals)


async def run_server(
    options: ServeOptions,
    stopping: asyncio.Event,
    on_ready: OnReady = lambda service, url: None,
    on_made: Callable[[Service], None] = lambda service: None,
) -> None:
    """Serve in a running loop until `stopping` is set; then finish what is in flight.

    Args:
        options, on_ready: see `serve`.
        stopping: ends it.
        on_made: called once, with the service, before any model is loaded.

    Raises:
        MienError: see `serve`.
    """
    public = _listen(options.host, options.port)
    if options.admin:
        _check_admin(options)
    service = Service(options)
    on_made(service)
    starting = asyncio.create_task(service.start())
    await asyncio.sleep(0)
    # What speaks HTTP is imported while another thread loads the models.
    from mien.serve.http import http_servers

    listeners = [public, _listen_admin(options.admin)] if options.admin else [public]
    servers = list(zip(http_servers(service), listeners, strict=True))
    running = [asyncio.create_task(server.serve(sockets=[listener])) for server, listener in servers]
    try:
        await starting
        on_ready(service, _url(public))
        await stopping.wait()
    finally:
        for server, _ in servers:
            server.should_exit = True
        await asyncio.gather(*running)
        await service.stop()
        public.close()
        if options.admin.startswith(UNIX):
            Path(options.admin.removeprefix(UNIX)).unlink(missing_ok=True)


def begin_stop(service: Service, stopping: asyncio.Event, drain_s: float) -> None:
    """Let `ready` answer 503 at once, and stop after so many seconds; at once if asked a second time."""
    if service.state == "draining":
        stopping.set()  # asked twice: no more waiting
        return
    service.state = "draining"
    asyncio.get_running_loop().call_later(drain_s, stopping.set)


async def _look_again(service: Service) -> None:
    try:
        await service.refresh(again=True)
    except SwapInProgress:
        _log.warning("SIGHUP: a version is being loaded already")
    except MienError as error:
        _log.error("SIGHUP: %s; what serves goes on", error)


_tasks: set[asyncio.Task[None]] = set()


def _keep(task: asyncio.Task[None]) -> None:
    """The loop holds tasks weakly; an unfinished one must not be collected."""
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


def _listen(host: str, port: int) -> socket.socket:
    try:
        (family, _, _, _, address), *_ = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        listener = socket.create_server(address[:2], family=family, backlog=1024)
    except (OSError, OverflowError, UnicodeError) as error:
        raise ServeError(
            f"{host}:{port}: cannot listen there ({reason(error)}); choose another address or port"
        ) from error
    listener.setblocking(False)
    return listener


def _listen_admin(place: str) -> socket.socket:
    if not place.startswith(UNIX):
        host, _, port = place.rpartition(":")
        return _listen(host.strip("[]"), int(port))
    path = Path(place.removeprefix(UNIX))
    try:
        if path.is_socket():
            path.unlink()  # left by a server that was killed
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(64)
    except OSError as error:
        raise ServeError(f"{path}: cannot listen there ({reason(error)})") from error
    listener.setblocking(False)
    return listener


def _check_admin(options: ServeOptions) -> None:
    place = options.admin
    if place.startswith(UNIX):
        return
    host, _, port = place.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ServeError(f"{place!r}: expected HOST:PORT or unix:PATH for the admin routes")
    if not is_loopback(host) and not options.token_file:
        raise ServeError(f"{place}: admin routes that other machines can reach need a token file")


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
