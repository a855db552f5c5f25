"""The public app and the admin app: routes behind a guard, and errors as JSON."""

from __future__ import annotations

import math
from collections.abc import Collection

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Scope

from mien.errors import MienError
from mien.model.prior import as_prior
from mien.serve.admin import AdminRoutes
from mien.serve.admission import Overloaded
from mien.serve.guard import RequestGuard
from mien.serve.inference_protocol import ProtocolRoutes
from mien.serve.page import NOTHING, Page
from mien.serve.problems import ClientGone, RequestProblem
from mien.serve.routes import ReadRoutes
from mien.serve.service import Service, SwapInProgress
from mien.web import site

PUBLIC = frozenset({"/", *(f"/{address}" for address in site.ADDRESSES)})
"""What needs no token where one is set: the page. Every other path asks for it, and so does a new route."""

CLIENT_CLOSED = 499
"""nginx's status for a client that went away; nobody sees it but the metrics."""


def public_app(service: Service) -> ASGIApp:
    """What everybody may call: `/v1`, `/v2`, metrics and the page."""
    routes = [*ReadRoutes(service).routes(), *ProtocolRoutes(service).routes()]
    options = service.options
    page = Page(options.answer, as_prior(options.prior, options.prior_strength))
    return _guarded(service, routes, public=PUBLIC, otherwise=page)


def admin_app(service: Service) -> ASGIApp:
    """What changes the server: on its own address."""
    routes = [*AdminRoutes(service).routes(), *ProtocolRoutes(service).routes(), *ReadRoutes(service).routes()]
    return _guarded(service, routes)


def _guarded(
    service: Service, routes: list[Route], *, public: Collection[str] = (), otherwise: ASGIApp | None = None
) -> ASGIApp:
    app = Starlette(
        routes=routes,
        exception_handlers={
            RequestProblem: _problem,
            Overloaded: _overloaded,
            ClientGone: _gone,
            SwapInProgress: _busy,
            MienError: _unprocessable,
            HTTPException: _http,
            Exception: _unforeseen,
        },
    )
    app.router.redirect_slashes = False
    if otherwise is not None:
        app.router.default = otherwise

    def route_of(scope: Scope) -> str:
        for route in routes:
            if route.matches(scope)[0] is not Match.NONE:
                return route.path
        return "page" if scope["method"] in ("GET", "HEAD") else "other"

    options = service.options
    return RequestGuard(
        app,
        service.metrics,
        route_of,
        token=options.token(),
        public=public,
        hosts=options.hosts,
        origins=options.origins,
    )


async def _problem(_: Request, error: Exception) -> Response:
    status = error.status if isinstance(error, RequestProblem) else 500
    headers = {"retry-after": "1"} if status in (429, 503, 504) else None
    return JSONResponse({"error": str(error)}, status, headers)


async def _overloaded(_: Request, error: Exception) -> Response:
    seconds = error.retry_after_s if isinstance(error, Overloaded) else 1.0
    headers = {"retry-after": str(max(1, math.ceil(seconds)))}
    return JSONResponse({"error": str(error), "retry_after_s": round(seconds, 3)}, 429, headers)


async def _gone(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, CLIENT_CLOSED)


async def _busy(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 409, {"retry-after": "1"})


async def _unprocessable(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 422)


async def _http(_: Request, error: Exception) -> Response:
    """Starlette's own: no such route, or another method than a route's."""
    assert isinstance(error, HTTPException)
    what = {404: NOTHING, 405: "not by this method"}
    return JSONResponse({"error": what.get(error.status_code, error.detail)}, error.status_code, error.headers)


async def _unforeseen(_: Request, error: Exception) -> Response:
    # Starlette raises it again after this answer, and uvicorn logs it; the client learns no inner detail.
    return JSONResponse({"error": f"the server failed on this request ({type(error).__name__})"}, 500)
