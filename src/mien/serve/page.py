"""The page: the static files of `mien.web`, with the headers that it asks for."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.types import Receive, Scope, Send

from mien.errors import MienError
from mien.model.prior import Prior
from mien.serve.problems import RequestProblem
from mien.web.site import HEADERS, cache_control, media_type, page_files

NOTHING = "there is nothing at this address; /openapi.json lists every public route"


class Page:
    """The page's files by their address. Only what is listed is served, so no path leads out of the folder."""

    def __init__(self, answer: str | None = None, prior: Prior | None = None) -> None:
        """`answer` and `prior` are those of the page's own mode, "on this device"."""
        self._answer, self._prior = answer, prior
        self._files: dict[str, Path | bytes] | None = None
        self._tags: dict[str, str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what no route took."""
        request = Request(scope, receive)
        try:
            response = await self._get(request)
        except RequestProblem as problem:
            response = JSONResponse({"error": str(problem)}, problem.status)
        await response(scope, receive, send)

    def _list(self) -> dict[str, Path | bytes]:
        try:
            return page_files(server=True, answer=self._answer, prior=self._prior)
        except MienError:  # the bundled model cannot answer as the server does: then the page reads nothing by itself
            return page_files(server=True, on_device=False)

    async def _get(self, request: Request) -> Response:
        name = request.url.path.removeprefix("/") or "index.html"
        if request.method not in ("GET", "HEAD"):
            raise RequestProblem(404, NOTHING)
        if self._files is None:
            self._files = await asyncio.to_thread(self._list)
        if name not in self._files:
            raise RequestProblem(404, NOTHING)
        content = self._files[name]
        headers = {**HEADERS, "cache-control": cache_control("v" in request.query_params)}
        kind = media_type(name)
        if isinstance(content, Path):
            return FileResponse(content, headers=headers, media_type=kind)
        if name not in self._tags:
            self._tags[name] = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        headers["etag"] = self._tags[name]
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers, media_type=kind)
