"""Where versions come from: a file, a bundled model, or an alias in the registry."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mien.errors import RegistryError, ServeError
from mien.model.bundle import BUNDLED, Bundle, load_bundle

if TYPE_CHECKING:
    from mien.registry import Registry


_log = logging.getLogger("mien.serve")


@dataclass(frozen=True, slots=True)
class WantedVersion:
    """Which version is to have a role, and a canary's share of the requests."""

    version: int
    share: float | None = None


class Source(Protocol):
    """Where one model's versions come from."""

    @property
    def name(self) -> str:
        """The model's name, as answers give it."""
        ...

    @property
    def follows(self) -> bool:
        """Whether to ask again from time to time."""
        ...

    def wanted(self) -> Mapping[str, WantedVersion]:
        """Role -> version, as it is to be now.

        Raises:
            MienError: nobody can say.
        """
        ...

    def load(self, version: int) -> Bundle:
        """The bundle of a version.

        Raises:
            MienError: it cannot be read.
        """
        ...


class FileSource:
    """A file or a bundled model. When the file was replaced, it is the next version; SIGHUP has it looked at."""

    follows = False

    def __init__(self, model: str, *, unsealed: bool = False) -> None:
        self._model, self._unsealed = model, unsealed
        self._bundle = self._read()
        self._sha256 = hashlib.sha256(self._bundle.model).hexdigest()
        self._version = 1
        self.name = model if model in BUNDLED else self._bundle.manifest.name

    def _read(self) -> Bundle:
        bundle = load_bundle(self._model, unsealed=self._unsealed)
        if not bundle.vouched:
            _log.warning("%s: no seal, taken as it is: nothing shows whether it was altered", self._model)
        return bundle

    def wanted(self) -> Mapping[str, WantedVersion]:
        """See `Source`."""
        bundle = self._read()
        sha256 = hashlib.sha256(bundle.model).hexdigest()
        if sha256 != self._sha256:
            self._bundle, self._sha256, self._version = bundle, sha256, self._version + 1
        return {"production": WantedVersion(self._version)}

    def load(self, version: int) -> Bundle:
        """See `Source`."""
        if version != self._version:
            raise ServeError(f"{self.name}@{version}: the file holds version {self._version}, and no other")
        return self._bundle


class RegistrySource:
    """`NAME@ALIAS` or `NAME@3` of a registry; an alias is followed, and so are `shadow` and `canary` beside it.

    Raises:
        RegistryError: there is no such version.
    """

    def __init__(self, registry: Registry, reference: str) -> None:
        from mien.registry import parse_reference

        self.registry = registry
        self._reference = parse_reference(reference)
        self.name = self._reference.model
        self.follows = self._reference.alias is not None
        registry.version(self._reference)

    @property
    def alias(self) -> str:
        """The alias that is followed; "" for a fixed version."""
        return self._reference.alias or ""

    def wanted(self) -> Mapping[str, WantedVersion]:
        """See `Source`."""
        if self._reference.alias is None:
            return {"production": WantedVersion(self.registry.version(self._reference).number)}
        known = self.registry.aliases(self.name)
        if self._reference.alias not in known:
            raise RegistryError(f"{self._reference}: the alias is gone")
        wanted = {"production": WantedVersion(known[self._reference.alias].version)}
        if self._reference.alias == "production":
            for role in ("shadow", "canary"):
                if role in known:
                    wanted[role] = WantedVersion(known[role].version, known[role].share)
        return wanted

    def load(self, version: int) -> Bundle:
        """See `Source`."""
        from mien.registry import Reference

        return self.registry.bundle(self.registry.version(Reference(self.name, version, None)))
