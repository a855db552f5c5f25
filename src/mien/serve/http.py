"""The apps under uvicorn. It takes long to import, so this is done while the models are loaded."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

import uvicorn
from starlette.types import ASGIApp

from mien.serve.app import admin_app, public_app
from mien.serve.connections import patient_protocol, raise_file_limit
from mien.serve.service import Service

ADMIN_CONNECTIONS = 64

GRACE_S = 30
"""Requests in flight may take so long to finish once the server stops."""

KEEP_ALIVE_S = 75
"""A connection without a request is kept so long. nginx keeps its own for 60 s: were ours closed first, a request that
it sends at that moment would be lost, and a POST is not sent again."""


class _Server(uvicorn.Server):
    """uvicorn's server, whose signals are handled elsewhere: `ready` has to turn 503 first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def http_servers(service: Service) -> list[uvicorn.Server]:
    """The public server and, where its routes are wanted, the admin one."""
    servers = [_server(public_app(service), raise_file_limit())]
    if service.options.admin:
        servers.append(_server(admin_app(service), ADMIN_CONNECTIONS))
    return servers


def _server(app: ASGIApp, most: int) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        http=patient_protocol(most),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=1024,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
    return _Server(config)
