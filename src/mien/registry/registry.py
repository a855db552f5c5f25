"""The registry: versions are added, aliases move, and every move is an event that stays."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from mien.errors import RegistryError, reason
from mien.folders import data_folder
from mien.model.bundle import Bundle, read_bundle
from mien.registry import database
from mien.registry.checks import require_seal
from mien.registry.database import Conflict, Database, aliases, events, versions
from mien.registry.files import FileStore
from mien.registry.reference import Reference, check_name
from mien.registry.rows import add_event, event_of, metric_name, now, pointed_to, user_name, version_of
from mien.registry.versions import CANARY, PRODUCTION, Alias, Event, Version

TRIES = 5
"""A version's number is taken anew so often, when other processes add versions at the same moment."""


class Registry:
    """Versions, aliases and events. Safe to share between threads and processes; made by `open_registry`.

    Attributes:
        location: where it is, without a password.
    """

    def __init__(self, index: Database, files: FileStore) -> None:
        self.location = index.name
        self._index, self._files = index, files

    def add(self, bundle: Bundle, name: str = "", *, note: str = "", who: str = "") -> tuple[Version, bool]:
        """Store a bundle as the next version of `name` (its manifest's name if empty).

        Returns:
            The version, and whether it is new: the same file twice is one version.

        Raises:
            RegistryError: a bundle without a seal, a name that no model may have, or nothing can be stored.
        """
        require_seal(bundle)
        name = check_name(name or bundle.manifest.name, "model")
        sha256 = self._files.add(bundle.model)
        for _ in range(TRIES - 1):
            with suppress(Conflict):
                return self._add(name, bundle, sha256, note, who or user_name())
        return self._add(name, bundle, sha256, note, who or user_name())

    def _add(self, name: str, bundle: Bundle, sha256: str, note: str, who: str) -> tuple[Version, bool]:
        mine = versions.c.model == name
        with self._index.write() as connection:
            known = connection.execute(sa.select(versions).where(mine, versions.c.sha256 == sha256)).mappings().first()
            if known:
                return version_of(known), False
            last = connection.execute(sa.select(sa.func.max(versions.c.number)).where(mine)).scalar()
            manifest = bundle.manifest
            row: dict[str, Any] = {
                "model": name,
                "number": int(last or 0) + 1,
                "sha256": sha256,
                "size": len(bundle.model),
                "classes": list(manifest.classes),
                "metrics": {metric_name(metric): metric.value for metric in manifest.metrics},
                "created": now(),
                "added_by": who,
                "note": note,
            }
            connection.execute(versions.insert().values(row))
            add_event(connection, name, "add", "", None, row["number"], who=who, why=note)
        return version_of(row), True

    def models(self) -> list[str]:
        """The names, sorted."""
        with self._index.read() as connection:
            return list(connection.execute(sa.select(versions.c.model).distinct().order_by(versions.c.model)).scalars())

    def versions(self, model: str) -> list[Version]:
        """All versions of a model, the newest first; none if there is no such model."""
        query = sa.select(versions).where(versions.c.model == model).order_by(versions.c.number.desc())
        with self._index.read() as connection:
            return [version_of(row) for row in connection.execute(query).mappings()]

    def aliases(self, model: str) -> dict[str, Alias]:
        """The aliases of a model, by name."""
        query = sa.select(aliases).where(aliases.c.model == model).order_by(aliases.c.name)
        with self._index.read() as connection:
            rows = connection.execute(query).mappings().all()
        return {row["name"]: Alias(model, row["name"], row["version"], row["share"]) for row in rows}

    def history(self, model: str, limit: int | None = None) -> list[Event]:
        """Events of a model, the newest first."""
        query = sa.select(events).where(events.c.model == model).order_by(events.c.number.desc()).limit(limit)
        with self._index.read() as connection:
            return [event_of(row) for row in connection.execute(query).mappings()]

    def version(self, reference: Reference) -> Version:
        """The version that a reference names now.

        Raises:
            RegistryError: there is no such model, version or alias; says which there are.
        """
        number = reference.version
        if reference.alias is not None:
            known = self.aliases(reference.model)
            if reference.alias not in known:
                self._refuse_model(reference.model)
                there = ", ".join(known) or "none yet: promote a version first"
                raise RegistryError(f"{reference}: no such alias in {self.location}; there is {there}")
            number = known[reference.alias].version
        query = sa.select(versions).where(versions.c.model == reference.model, versions.c.number == number)
        with self._index.read() as connection:
            row = connection.execute(query).mappings().first()
        if row is None:
            self._refuse_model(reference.model)
            numbers = [version.number for version in self.versions(reference.model)]
            raise RegistryError(f"{reference}: no such version; there are {min(numbers)} to {max(numbers)}")
        return version_of(row)

    def _refuse_model(self, model: str) -> None:
        names = self.models()
        if model not in names:
            there = ", ".join(names) or "none yet: add one with `mien registry add`"
            raise RegistryError(f"no model called {model!r} in {self.location}; there is {there}")

    def path(self, version: Version) -> Path:
        """Where the version's file lies. `bundle` reads and checks it."""
        return self._files.path(version.sha256)

    def bundle(self, version: Version) -> Bundle:
        """Read a version's bundle, and check its hash and its seal.

        Raises:
            RegistryError: the file is gone or altered.
            BundleError: the file is no bundle.
        """
        return read_bundle(self._files.read(version.sha256), self.path(version))

    def promote(
        self,
        version: Version,
        alias: str = PRODUCTION,
        *,
        expected: int | None,
        why: str = "",
        checks: Mapping[str, str] | None = None,
        share: float | None = None,
        who: str = "",
    ) -> Event:
        """Point an alias at a version. `check_candidate` says beforehand whether that is wise.

        Args:
            version: where to.
            alias: which.
            expected: the version that the alias pointed to when the decision was made; None: to nothing.
            why: goes into the history.
            checks: what held; goes into the history.
            share: for a canary: its part of the requests, 0..1.
            who: the user; the one of this process if empty.

        Raises:
            RegistryError: another process moved the alias since `expected` was read.
        """
        check_name(alias, "alias")
        if share is not None and (alias != CANARY or not 0 <= share <= 1):
            raise RegistryError(f"share {share}: expected a number from 0 to 1, for the alias {CANARY!r} only")
        move = (version.model, alias, expected, version.number)
        with self._index.write() as connection:
            self._move(connection, *move, share=share)
            return add_event(connection, version.model, "promote", *move[1:], who=who, why=why, checks=checks)

    def rollback(
        self, model: str, alias: str = PRODUCTION, *, to: int | None = None, why: str = "", who: str = ""
    ) -> Event:
        """Point an alias back at what it pointed to before; a second rollback goes one further back.

        An alias other than `production` that pointed to nothing before is removed.

        Args:
            model, alias: which.
            to: this version instead.
            why: goes into the history.
            who: the user; the one of this process if empty.

        Raises:
            RegistryError: the alias points to nothing, or did not point to anything before.
        """
        current = self.aliases(model).get(alias)
        if current is None:
            self._refuse_model(model)
            raise RegistryError(f"{model}@{alias}: points to no version; there is nothing to roll back")
        if to is None:
            before = pointed_to(self.history(model), alias)[:-1]
            if not before and alias == PRODUCTION:
                raise RegistryError(f"{model}@{alias}: version {current.version} is its first; promote another one")
            to = before[-1] if before else None
        else:
            self.version(Reference(model, to, None))
        with self._index.write() as connection:
            self._move(connection, model, alias, current.version, to, share=current.share)
            return add_event(connection, model, "rollback", alias, current.version, to, who=who, why=why)

    def stop(self, model: str, alias: str, *, why: str, who: str = "") -> Event:
        """Remove an alias: a shadow or canary that is to end.

        Raises:
            RegistryError: the alias points to nothing, or another process moved it.
        """
        current = self.aliases(model).get(alias)
        if current is None:
            raise RegistryError(f"{model}@{alias}: points to no version")
        with self._index.write() as connection:
            self._move(connection, model, alias, current.version, None, share=None)
            return add_event(connection, model, "stop", alias, current.version, None, who=who, why=why)

    def close(self) -> None:
        """Give back the database's connections."""
        self._index.close()

    def _move(
        self,
        connection: sa.Connection,
        model: str,
        alias: str,
        expected: int | None,
        to: int | None,
        *,
        share: float | None,
    ) -> None:
        """Compare and swap: of two processes that move an alias at once, one is refused."""
        here = sa.and_(aliases.c.model == model, aliases.c.name == alias)
        if expected is None:
            taken = connection.execute(sa.select(aliases.c.version).where(here)).scalar()
            if taken is None:
                connection.execute(aliases.insert().values(model=model, name=alias, version=to, share=share))
                return
        else:
            mine = sa.and_(here, aliases.c.version == expected)
            change = aliases.delete() if to is None else aliases.update().values(version=to, share=share)
            if connection.execute(change.where(mine)).rowcount == 1:
                return
        found = connection.execute(sa.select(aliases.c.version).where(here)).scalar()
        raise RegistryError(
            f"{model}@{alias}: another process moved it meanwhile, from {_named(expected)} to {_named(found)}; look at "
            f"`mien registry history {model}` and decide again"
        )


def open_registry(location: str | os.PathLike[str] = "", files: str | os.PathLike[str] = "") -> Registry:
    """Open a registry, or make a new one.

    Args:
        location: a folder (SQLite, with the files in it), or `postgresql://USER@HOST/DATABASE`; empty: the environment
            variable MIEN_REGISTRY, else `registry` in mien's data folder.
        files: the folder of the bundles; empty: MIEN_REGISTRY_FILES, else `files` in the registry's folder.

    Raises:
        RegistryError: it cannot be opened or made.
    """
    place = os.fspath(location) or os.environ.get("MIEN_REGISTRY", "")
    default = data_folder() / "registry"
    folder = default if not place or "://" in place else Path(place)
    stored = os.fspath(files) or os.environ.get("MIEN_REGISTRY_FILES", "")
    if "://" in place:
        if not place.startswith(("postgresql://", "postgres://")):
            raise RegistryError(
                f"expected a folder or postgresql://USER@HOST/DATABASE, found {place.split('://')[0]}://"
            )
        url = database.postgres_url("postgresql" + place[place.index("://") :])
    else:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RegistryError(f"{folder}: the registry's folder cannot be made ({reason(error)})") from error
        url = database.sqlite_url(folder / "registry.sqlite")
    return Registry(Database(url), FileStore(Path(stored) if stored else folder / "files"))


def _named(version: int | None) -> str:
    return "nothing" if version is None else f"version {version}"
