"""Admin routes: bundles in, promotions, rollbacks, traffic. On an address of their own, never on the public one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mien.errors import MienError, RegistryError
from mien.model.bundle import Bundle, read_bundle
from mien.model.verify_in_process import verify_once
from mien.serve.bodies import parse_json, read_body
from mien.serve.problems import RequestProblem
from mien.serve.routes import about_slot
from mien.serve.service import Service
from mien.serve.slot import Slot
from mien.serve.sources import RegistrySource

MAX_BUNDLE = 512 * 2**20
PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""How PyTorch's weights and other pickles begin; they are told apart, and never opened."""


@dataclass(frozen=True)
class AdminRoutes:
    """The routes that change what serves."""

    service: Service

    def routes(self) -> list[Route]:
        """For Starlette."""
        model = "/v1/models/{name}"
        repository = "/v2/repository"
        return [
            Route("/v1/models", self.add, methods=["POST"]),
            Route(f"{model}/promote", self.promote, methods=["POST"]),
            Route(f"{model}/rollback", self.rollback, methods=["POST"]),
            Route(f"{model}/traffic", self.traffic, methods=["PUT"]),
            Route("/v1/refresh", self.refresh, methods=["POST"]),
            Route(f"{repository}/index", self.index, methods=["POST"]),
            Route(f"{repository}/models/{{name}}/load", self.load, methods=["POST"]),
            Route(f"{repository}/models/{{name}}/unload", self.unload, methods=["POST"]),
        ]

    async def add(self, request: Request) -> Response:
        """A bundle becomes the next version of `?name=`; the body is the file."""
        service = self.service
        with service.gate.admit(1, 0) as ticket:
            data = await read_body(request, service.options, service.gate, ticket, MAX_BUNDLE)
            name, note = request.query_params.get("name", ""), request.query_params.get("note", "")
            version, new = await service.in_loader(
                lambda: service.open_registry().add(_checked(data), name, note=note, who=_who(request))
            )
        return JSONResponse({**asdict(version), "new": new}, 201 if new else 200)

    async def promote(self, request: Request) -> Response:
        """`{"version": 3, "why": "..."}`: load and verify it here, then move the alias, then let it take over."""
        asked = await self._json(request)
        slot, source = self._followed(request)
        version = _number(asked, "version")
        new_classes = bool(asked.get("new_classes", False))
        why, who = str(asked.get("why", "")), _who(request)
        return await self._swap(slot, lambda: _promote(slot, source, version, new_classes, why, who))

    async def rollback(self, request: Request) -> Response:
        """`{"to": 2, "why": "..."}`; without `to`, the version before."""
        asked = await self._json(request)
        slot, source = self._followed(request)
        to = _number(asked, "to") if asked.get("to") is not None else None
        alias = str(asked.get("alias", source.alias))
        why, who = str(asked.get("why", "")), _who(request)
        return await self._swap(slot, lambda: _rollback(slot, source, alias, to, why, who))

    async def traffic(self, request: Request) -> Response:
        """`{"canary": {"version": 4, "percent": 5}, "shadow": {"version": 5}}`; null ends one."""
        asked = await self._json(request)
        slot, source = self._followed(request)
        unknown = set(asked) - {"canary", "shadow"}
        if unknown or not asked:
            raise RequestProblem(422, f"expected canary or shadow, found {', '.join(sorted(unknown)) or 'neither'}")
        wanted = {role: _traffic(role, value) for role, value in asked.items()}
        who = _who(request)

        def change() -> None:
            for role, target in wanted.items():
                _set_traffic(source, role, target, who)
            slot.refresh(again=True)
            for role, target in wanted.items():
                if target and role in slot.refusals:
                    raise RegistryError(slot.refusals[role].why)

        return await self._swap(slot, change)

    async def refresh(self, _: Request) -> Response:
        """Look at files and registry now, and try again what was refused."""
        refused = await self.service.refresh(again=True)
        status = 422 if refused else 200
        error = {"error": "; ".join(refusal.why for refusal in refused)} if refused else {}
        return JSONResponse({**error, "models": [about_slot(slot) for slot in self.service.slots.values()]}, status)

    async def index(self, _: Request) -> Response:
        """The protocol's list of what is loaded."""
        entries = [
            {"name": name, "version": str(slot.production.version), "state": "READY", "reason": ""}
            for slot in self.service.slots.values()
            for name in (slot.name, f"{slot.name}-pictures")
        ]
        return JSONResponse(entries)

    async def load(self, request: Request) -> Response:
        """Load the model again: what its alias or file holds now."""
        slot = self.service.slot(request.path_params["name"].removesuffix("-pictures"))
        refused = await self.service.in_loader(lambda: slot.refresh(again=True))
        if refused:
            raise RequestProblem(422, "; ".join(refusal.why for refusal in refused))
        return JSONResponse({})

    async def unload(self, request: Request) -> Response:
        """A model that serves is not taken away from its clients."""
        self.service.slot(request.path_params["name"].removesuffix("-pictures"))
        raise RequestProblem(409, "a model that serves is not unloaded; promote another version, or stop the server")

    async def _swap(self, slot: Slot, work: Callable[[], None]) -> Response:
        started = time.perf_counter()
        await self.service.in_loader(work)
        self.service.metrics.swap_duration.observe(time.perf_counter() - started)
        return JSONResponse(about_slot(slot))

    async def _json(self, request: Request) -> dict[str, Any]:
        service = self.service
        with service.gate.admit(0, 0) as ticket:
            body = await read_body(request, service.options, service.gate, ticket)
        found = parse_json(body or b"{}")
        if not isinstance(found, dict):
            raise RequestProblem(422, "expected a JSON object")
        return cast(dict[str, Any], found)

    def _followed(self, request: Request) -> tuple[Slot, RegistrySource]:
        slot = self.service.slot(request.path_params["name"])
        source = slot.source
        if not isinstance(source, RegistrySource) or not source.alias:
            raise RequestProblem(
                409, f"{slot.name} does not follow an alias; start the server with the model {slot.name}@production"
            )
        return slot, source


def _promote(slot: Slot, source: RegistrySource, version: int, new_classes: bool, why: str, who: str) -> None:
    from mien.registry import Reference, check_candidate
    from mien.registry.checks import require

    registry = source.registry
    wanted = registry.version(Reference(source.name, version, None))
    known = registry.aliases(source.name)
    expected = known[source.alias].version if source.alias in known else None
    candidate = registry.bundle(wanted)
    before = registry.bundle(registry.version(Reference(source.name, expected, None))) if expected else None
    held = require(check_candidate(candidate, before, new_classes=new_classes, threads=1), str(wanted))
    serving = slot.try_out(version)  # before the alias moves: a version that cannot serve changes nothing
    registry.promote(wanted, source.alias, expected=expected, why=why, checks=held, who=who)
    slot.assign(serving)


def _rollback(slot: Slot, source: RegistrySource, alias: str, to: int | None, why: str, who: str) -> None:
    source.registry.rollback(source.name, alias, to=to, why=why, who=who)
    refused = [refusal for refusal in slot.refresh(again=True) if refusal.role == "production"]
    if refused:
        raise RegistryError(f"the alias went back, but {slot.production.version} goes on serving: {refused[0].why}")


def _set_traffic(source: RegistrySource, role: str, target: tuple[int, float | None] | None, who: str) -> None:
    from mien.registry import Reference

    registry = source.registry
    now = registry.aliases(source.name).get(role)
    if target is None:
        if now:
            registry.stop(source.name, role, why="traffic", who=who)
        return
    version = registry.version(Reference(source.name, target[0], None))
    registry.promote(version, role, expected=now.version if now else None, why="traffic", share=target[1], who=who)


def _traffic(role: str, value: object) -> tuple[int, float | None] | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise RequestProblem(422, f"{role}: expected an object with a version, or null")
    asked = cast(dict[str, Any], value)
    version = _number(asked, "version")
    if role == "shadow":
        return version, None
    percent = asked.get("percent", 5)
    if not isinstance(percent, (int, float)) or isinstance(percent, bool) or not 0 <= percent <= 100:
        raise RequestProblem(422, f"percent: expected a number from 0 to 100, found {str(percent)[:40]}")
    return version, percent / 100


def _checked(data: bytes) -> Bundle:
    path = Path("upload.onnx")
    if data.startswith(PICKLES):
        raise RequestProblem(
            422, "expected a .onnx bundle, found PyTorch weights or another pickle; mien never opens one: mien export"
        )
    bundle = read_bundle(data, path)
    try:
        failed = [f"{check.name}: {check.detail}" for check in verify_once(bundle) if check.passed is False]
    except MienError as error:
        failed = [str(error)]
    if failed:
        raise RequestProblem(422, f"the bundle is not added: {'; '.join(failed)}")
    return bundle


def _number(asked: dict[str, Any], key: str) -> int:
    found = asked.get(key)
    if not isinstance(found, int) or isinstance(found, bool):
        raise RequestProblem(422, f"{key}: expected a version's number, found {str(found)[:40]}")
    from mien.registry.reference import check_number

    return check_number(found)


def _who(request: Request) -> str:
    """What the client calls itself; whoever has the admin address or the token may say what he likes."""
    return (request.headers.get("x-client-id") or "admin route")[:128]
