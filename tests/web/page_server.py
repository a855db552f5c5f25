"""A small server of the page for its tests: the page's own files, and `/v1/read` by a real recognizer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mien import Recognizer
from mien.errors import MienError
from mien.media.image import decode
from mien.output.rows import rows_of
from mien.web import site


@dataclass
class PageServer:
    """Answers the page; remembers what it was asked."""

    server: bool = True
    isolated: bool = True
    """Send the headers that let the page use threads."""
    asked: list[str] = field(default_factory=list)
    refuse: int = 0
    """Answer so many requests for pictures with 429 first."""
    url: str = ""

    def __post_init__(self) -> None:
        self.files = site.page_files(server=self.server)
        self.recognizer = Recognizer("small", threads=1)

    async def read(self, request: Request) -> Response:
        self.asked.append(str(request.url))
        if self.refuse:
            self.refuse -= 1
            return JSONResponse({"error": "busy"}, 429, {"Retry-After": "0.1"})
        body = await request.body()
        return JSONResponse(await run_in_threadpool(self.answer, body))

    def answer(self, body: bytes) -> dict[str, object]:
        bundle = self.recognizer.session.bundle
        classes = list(bundle.manifest.classes)
        model = {"name": bundle.manifest.name, "version": 3, "sha256": "0" * 64, "classes": classes, "answer": None}
        try:
            (frame,) = decode(body, "bytes")
            readings = self.recognizer.read_all([frame])
            rows = [row for item in readings for row in rows_of(item)]
            picture = {"width": frame.image.shape[1], "height": frame.image.shape[0], "faces": rows, "error": None}
        except MienError as error:
            picture = {"width": None, "height": None, "faces": [], "error": str(error)}
        return {"model": model, "pictures": [{"source": "bytes", **picture}]}

    def file(self, request: Request) -> Response:
        name = request.path_params["name"] or "index.html"
        if name not in self.files:
            return Response("not found", 404)
        found = self.files[name]
        content = found.read_bytes() if isinstance(found, Path) else found
        sent = {k: v for k, v in site.HEADERS.items() if self.isolated or not k.startswith("Cross-Origin")}
        headers = {**sent, "Cache-Control": site.cache_control("v" in request.query_params)}
        return Response(content, headers=headers, media_type=site.media_type(name))

    def app(self) -> Starlette:
        reading = [Route(path, self.read, methods=["POST"]) for path in ("/v1/read", "/v1/live")]
        return Starlette(routes=[*(reading if self.server else []), Route("/{name:path}", self.file)])


@contextmanager
def serving(page: PageServer) -> Iterator[PageServer]:
    """Serve the page on a free port of this machine."""
    server = uvicorn.Server(
        uvicorn.Config(page.app(), host="127.0.0.1", port=0, log_level="error", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
        assert thread.is_alive(), "the test server did not start"
    page.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    try:
        yield page
    finally:
        server.should_exit = True
        thread.join(10)
