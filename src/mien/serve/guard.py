"""Before any route: who may ask, from which page, under which name; after it: headers and counts. Plain ASGI."""

from __future__ import annotations

import hmac
import ipaddress
import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mien.serve.metrics import Metrics
from mien.web import site

HEADERS = {
    **{name.lower(): value for name, value in site.HEADERS.items()},
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
}
"""On every answer; the page's files bring their own content security policy, which allows what the page needs."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"})
OPEN_PATHS = ("/v2/health/live", "/v2/health/ready")
"""Asked by whoever watches over the server; they need no token and tell nothing."""

RouteOf = Callable[[Scope], str]


class RequestGuard:
    """Wraps an app.

    Args:
        app: what is guarded.
        metrics: counts every answer.
        route_of: the path template of a request that was routed; a label, so never the path itself.
        token: that API requests must carry as `Authorization: Bearer`; "" for none.
        public: the paths that are served without the token: the page itself.
        hosts: names of this server besides localhost and IP addresses.
        origins: other origins whose pages may call it.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        route_of: RouteOf,
        *,
        token: str = "",
        public: Collection[str] = (),
        hosts: Sequence[str] = (),
        origins: Sequence[str] = (),
    ) -> None:
        self._app, self._metrics, self._route_of = app, metrics, route_of
        self._token, self._public = token.encode(), public
        self._hosts = {"localhost", *(host.lower() for host in hosts)}
        self._origins = {origin.lower().rstrip("/") for origin in origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        headers = Headers(scope=scope)
        origin = headers.get("origin", "")
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._add_headers(MutableHeaders(scope=message), origin)
            await send(message)

        self._metrics.in_flight.inc()
        try:
            refusal = self._refusal(scope, headers, origin)
            if refusal:
                self._metrics.rejected.labels("forbidden").inc()
                await _answer(watched, *refusal)
            elif scope["method"] == "OPTIONS" and self._is_other(origin):
                await _answer(watched, 204, "", PREFLIGHT)
            else:
                await self._app(scope, receive, watched)
        finally:
            self._metrics.in_flight.dec()
            route = self._route_of(scope)
            method = scope["method"] if scope["method"] in METHODS else "other"
            self._metrics.requests.labels(route, method, str(status)).inc()
            self._metrics.duration.labels(route).observe(time.perf_counter() - started)

    def _refusal(self, scope: Scope, headers: Headers, origin: str) -> tuple[int, str, Mapping[str, str]] | None:
        if "host" not in headers:
            return 400, "the request names no Host", {}
        if not self._knows_host(headers.get("host", "")):
            return 421, "this server has another name than the request's Host; who runs it can allow that name", {}
        if origin and not self._is_same(origin, headers.get("host", "")) and not self._is_other(origin):
            return 403, "pages of another origin may not call this server; who runs it can allow that origin", {}
        if not self._token or scope["path"] in OPEN_PATHS or scope["path"] in self._public:
            return None
        if scope["method"] == "OPTIONS" and self._is_other(origin):
            return None  # a browser asks without the token whether it may send it
        # One comparison in constant time, and one answer for none, a wrong one, and another scheme.
        given = headers.get("authorization", "").encode("latin-1", "replace")
        if not hmac.compare_digest(given, b"Bearer " + self._token):
            return 401, "a token is needed: Authorization: Bearer TOKEN", {"www-authenticate": "Bearer"}
        return None

    def _knows_host(self, host: str) -> bool:
        """A foreign page can give this server's address a name of its own (DNS rebinding); an IP address it cannot."""
        name = _host_name(host)
        if name in self._hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _is_same(self, origin: str, host: str) -> bool:
        return urlsplit(origin).netloc.lower() == host.lower() and origin.startswith(("http://", "https://"))

    def _is_other(self, origin: str) -> bool:
        return origin.lower() in self._origins

    def _add_headers(self, headers: MutableHeaders, origin: str) -> None:
        for name, value in HEADERS.items():
            headers.setdefault(name, value)
        headers.setdefault("cache-control", "no-store")
        if self._is_other(origin):
            headers["access-control-allow-origin"] = origin
            headers["cross-origin-resource-policy"] = "cross-origin"
            headers["access-control-expose-headers"] = "retry-after, mien-model, mien-answer, mien-prior"
            headers.add_vary_header("origin")


PREFLIGHT = {
    "access-control-allow-methods": "GET, POST",
    "access-control-allow-headers": "authorization, content-type, accept, x-client-id",
    "access-control-max-age": "600",
}


async def _answer(send: Send, status: int, error: str, headers: Mapping[str, str]) -> None:
    body = json.dumps({"error": error}).encode() if error else b""
    lines = {"content-type": "application/json", "content-length": str(len(body)), **headers}
    raw = [(name.encode(), value.encode()) for name, value in lines.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


def _host_name(host: str) -> str:
    """The name in a Host header, without its port and an IPv6 address's brackets."""
    text = host.strip().lower()
    return text[1:].partition("]")[0] if text.startswith("[") else text.partition(":")[0]
