"""`/v1`: pictures in, rows out; and what people and machines ask about the server."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mien.serve.bodies import pictures_of, read_body
from mien.serve.canary import Canary
from mien.serve.formats import JPEG, respond, wanted_format
from mien.serve.openapi import document
from mien.serve.problems import RequestProblem
from mien.serve.read_options import ReadOptions, parse_read_options
from mien.serve.service import Gone, Service
from mien.serve.slot import Slot

CLIENT_HEADER = "x-client-id"
"""Names a client for the canary's share and for `/v1/live`; any text of the client's own choice."""


def gone_of(request: Request) -> Gone:
    """Waits until the client has closed the connection. The body must have been read."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    return gone


@dataclass
class ReadRoutes:
    """The routes of `/v1` that anybody may call."""

    service: Service
    _live: set[str] = field(default_factory=set[str])

    def routes(self) -> list[Route]:
        """For Starlette."""
        return [
            Route("/v1/read", self.read, methods=["POST"]),
            Route("/v1/live", self.live, methods=["POST"]),
            Route("/v1/models", self.models, methods=["GET"]),
            Route("/openapi.json", self.openapi, methods=["GET"]),
            Route("/metrics", self.metrics, methods=["GET"]),
        ]

    async def read(self, request: Request) -> Response:
        """Pictures -> rows."""
        return await self._read(request, urgent=False)

    async def _read(self, request: Request, *, urgent: bool) -> Response:
        options, gate = self.service.options, self.service.gate
        deadline = time.monotonic() + options.timeout_s
        form, wish, model = _asked(request)
        slot, serving = self.service.choose(model, request.headers.get(CLIENT_HEADER, ""))
        wish = serving.filled(wish)
        with gate.admit(1, 0, urgent=urgent) as ticket:
            body = await read_body(request, options, gate, ticket)
            pictures = await pictures_of(request, body)
            del body
            if form == JPEG and len(pictures) > 1:
                raise RequestProblem(406, f"{JPEG} holds one picture, and {len(pictures)} were sent; accept JSON")
            gate.grow(ticket, len(pictures) - 1)
            # The time for reading a body is the client's; the deadline is for the work.
            deadline = max(deadline, time.monotonic() + options.timeout_s / 2)
            answer = await self.service.read(slot, serving, pictures, wish, gone_of(request), deadline, urgent=urgent)
            for picture in answer.pictures:
                gate.note(sum(picture.seconds.values()) - picture.seconds.get("wait", 0.0))
            if slot.canary and answer.serving is slot.canary.serving:
                self.service.metrics.canary_requests.labels(str(answer.serving.version)).inc()
            return respond(answer, form)

    async def live(self, request: Request) -> Response:
        """One frame of a camera. A client that names itself has one in flight; its next one is turned away at once."""
        client = request.headers.get(CLIENT_HEADER, "")
        if not client:
            return await self._read(request, urgent=True)
        if client in self._live:
            self.service.metrics.rejected.labels("live").inc()
            raise RequestProblem(429, "a frame of this client is being read; send the newest one when it is answered")
        self._live.add(client)
        try:
            return await self._read(request, urgent=True)
        finally:
            self._live.discard(client)

    async def models(self, _: Request) -> Response:
        """What serves, and what was refused."""
        return JSONResponse({"models": [about_slot(slot) for slot in self.service.slots.values()]})

    async def openapi(self, _: Request) -> Response:
        """This interface, as OpenAPI 3.1."""
        return JSONResponse(document(self.service.options, list(self.service.slots)))

    async def metrics(self, _: Request) -> Response:
        """Counts, for Prometheus."""
        return Response(self.service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def about_slot(slot: Slot) -> dict[str, object]:
    """One model, its shadow and canary, and what was refused, for JSON."""
    shadow, canary = slot.shadow, slot.canary
    return {
        **slot.production.about(),
        "answers": slot.production.answers(),
        "shadow": {**shadow.serving.about(), **shadow.state()} if shadow else None,
        "canary": _about_canary(canary) if canary else None,
        "refused": [{"role": r.role, "version": r.version, "why": r.why} for r in slot.refusals.values()],
    }


def _about_canary(canary: Canary) -> dict[str, object]:
    return {
        **canary.serving.about(),
        "share": canary.share,
        "pictures": len(canary.mine.seconds),
        "failures": canary.mine.failures,
    }


def _asked(request: Request) -> tuple[str, ReadOptions, str]:
    """The answer's format, how to read, and the model, from the query and the Accept header."""
    query = request.query_params
    annotate = query.get("annotate", "").lower()
    if annotate not in ("", "0", "1", "false", "true"):
        raise RequestProblem(422, f"annotate: expected true or false, found {annotate[:40]!r}")
    form = JPEG if annotate in ("1", "true") else wanted_format(request.headers.get("accept", ""))
    return form, parse_read_options(dict(query), draw=form == JPEG), query.get("model", "")
