"""One model of the server: its production, shadow and canary, and how they change while requests run."""

from __future__ import annotations

import ctypes
import gc
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from mien.errors import MienError, ServeError
from mien.model.bundle import Bundle
from mien.serve.canary import Canary
from mien.serve.metrics import Metrics
from mien.serve.serving import Serving
from mien.serve.shadow import Shadow
from mien.serve.sources import Source, WantedVersion

Load = Callable[[Bundle, str, int], Serving]
"""Bundle, name, version -> a serving that is verified and warm."""

_log = logging.getLogger("mien.serve")


@dataclass(frozen=True, slots=True)
class RefusedVersion:
    """A version that did not take over, and why."""

    role: str
    version: int
    why: str


class Slot:
    """One model. `production`, `shadow` and `canary` are assigned whole, so a request sees the old or the new one.

    Its methods that load run in the loader thread only; `choose` may be called from anywhere.

    Raises:
        MienError: the first version cannot be used.
    """

    def __init__(self, source: Source, load: Load, metrics: Metrics) -> None:
        self.source, self._load, self._metrics = source, load, metrics
        self.name = source.name
        self.refusals: dict[str, RefusedVersion] = {}
        self.shadow: Shadow | None = None
        self.canary: Canary | None = None
        wanted = source.wanted()
        self.production = self._loaded(wanted["production"].version)
        self._show(self.production, "production")
        self._follow_others(wanted)

    def choose(self, key: str) -> Serving:
        """The version that answers a client of this key."""
        canary = self.canary
        return canary.serving if canary and canary.takes(key) else self.production

    def version(self, number: int) -> Serving:
        """The serving of a version's number.

        Raises:
            ServeError: it is not loaded.
        """
        held = [self.production, *([self.canary.serving] if self.canary else [])]
        for serving in held:
            if serving.version == number:
                return serving
        there = ", ".join(str(serving.version) for serving in held)
        raise ServeError(f"{self.name}@{number} does not serve here; what does: {there}")

    def refresh(self, *, again: bool = False) -> list[RefusedVersion]:
        """Do as the source says now.

        Args:
            again: try a version that was refused before once more.

        Returns:
            What was refused this time, or still is.

        Raises:
            MienError: the source does not answer.
        """
        wanted = self.source.wanted()
        if again:
            self.refusals.clear()
        if wanted["production"].version == self.production.version:
            self.refusals.pop("production", None)
        else:
            self._take_over(wanted["production"].version)
        self._follow_others(wanted)
        return list(self.refusals.values())

    def try_out(self, version: int) -> Serving:
        """Load a version before anything is decided; it does not serve yet.

        Raises:
            MienError: it cannot serve, and why.
        """
        try:
            return self._loaded(version)
        except MienError as error:
            self._metrics.swaps.labels("refused").inc()
            self.refusals["production"] = RefusedVersion("production", version, str(error))
            raise

    def assign(self, serving: Serving) -> None:
        """Let a loaded version take over. Requests in flight keep theirs."""
        before = self.production
        self.production = serving
        self._hide(before, "production")
        _log.info("%s: version %d serves now, in place of %d", self.name, serving.version, before.version)
        self._show(serving, "production")
        self.refusals.pop("production", None)
        self._metrics.swaps.labels("taken over").inc()
        del before
        _give_back_memory()

    def drop_canary(self) -> None:
        """End the canary here."""
        canary, self.canary = self.canary, None
        if canary:
            self._hide(canary.serving, "canary")

    def close(self) -> None:
        """End the shadow's thread."""
        if self.shadow:
            self.shadow.close()

    def _take_over(self, version: int) -> None:
        if (refused := self.refusals.get("production")) and refused.version == version:
            return  # it was told; SIGHUP or a new decision tries again
        started = time.perf_counter()
        try:
            self.assign(self.try_out(version))
        except MienError as error:
            _log.error("%s: version %d is refused, %d goes on: %s", self.name, version, self.production.version, error)
        else:
            self._metrics.swap_duration.observe(time.perf_counter() - started)

    def _follow_others(self, wanted: Mapping[str, WantedVersion]) -> None:
        self._follow_shadow(wanted.get("shadow"))
        self._follow_canary(wanted.get("canary"))

    def _follow_shadow(self, wanted: WantedVersion | None) -> None:
        now = self.shadow
        if now and (wanted is None or wanted.version != now.serving.version):
            self.shadow = None
            now.close()
            self._hide(now.serving, "shadow")
        if wanted and self.shadow is None and (serving := self._other("shadow", wanted.version)):
            self.shadow = Shadow(serving, self._metrics)

    def _follow_canary(self, wanted: WantedVersion | None) -> None:
        now = self.canary
        if now and (wanted is None or wanted.version != now.serving.version):
            self.drop_canary()
        if wanted is None:
            return
        share = wanted.share or 0.0
        if self.canary:
            self.canary.share = share
        elif serving := self._other("canary", wanted.version):
            self.canary = Canary(serving, share)

    def _other(self, role: str, version: int) -> Serving | None:
        if (refused := self.refusals.get(role)) and refused.version == version:
            return None
        try:
            serving = self._loaded(version)
        except MienError as error:
            self.refusals[role] = RefusedVersion(role, version, str(error))
            _log.error("%s: version %d is refused as %s: %s", self.name, version, role, error)
            return None
        self.refusals.pop(role, None)
        self._show(serving, role)
        return serving

    def _loaded(self, version: int) -> Serving:
        return self._load(self.source.load(version), self.name, version)

    def _show(self, serving: Serving, role: str) -> None:
        self._metrics.model.labels(serving.name, str(serving.version), serving.sha256[:12], role).set(1)

    def _hide(self, serving: Serving, role: str) -> None:
        self._metrics.model.remove(serving.name, str(serving.version), serving.sha256[:12], role)


def _give_back_memory() -> None:
    """Let the system have the memory of sessions that are gone; glibc keeps it in the freeing thread's arena."""
    gc.collect()
    with suppress(OSError, AttributeError):  # another C library has no such function, and no such need
        ctypes.CDLL(None).malloc_trim(0)
