"""Rows of the registry's tables <-> versions and events."""

from __future__ import annotations

import getpass
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import sqlalchemy as sa

from mien.model.manifest import Metric
from mien.registry.database import events, versions
from mien.registry.versions import Event, Version


def pointed_to(newest_first: Sequence[Event], alias: str) -> list[int]:
    """What an alias pointed to, one below the other: a promotion lays one on top, a rollback takes some off."""
    stack: list[int] = []
    for event in reversed(newest_first):
        if event.alias != alias:
            continue
        if event.to_version is None:
            stack.clear()
        elif event.kind == "rollback" and event.to_version in stack:
            while stack[-1] != event.to_version:
                stack.pop()
        else:
            stack.append(event.to_version)
    return stack


def add_event(
    connection: sa.Connection,
    model: str,
    kind: str,
    alias: str,
    from_version: int | None,
    to_version: int | None,
    *,
    who: str,
    why: str,
    checks: Mapping[str, str] | None = None,
) -> Event:
    """Write what happened into the history, in the transaction of `connection`."""
    row: dict[str, Any] = {
        "at": now(),
        "who": who or user_name(),
        "model": model,
        "kind": kind,
        "alias": alias,
        "from_version": from_version,
        "to_version": to_version,
        "why": why,
        "checks": dict(checks or {}),
    }
    key = connection.execute(events.insert().values(row)).inserted_primary_key
    return Event(number=int(key[0]) if key else 0, **row)


def version_of(row: Mapping[str, Any] | sa.RowMapping) -> Version:
    """The version that stands in a row."""
    fields: dict[str, Any] = {column.name: row[column.name] for column in versions.columns}
    fields["classes"] = tuple(fields["classes"])
    return Version(**fields)


def event_of(row: sa.RowMapping) -> Event:
    """The event that stands in a row."""
    return Event(**{column.name: row[column.name] for column in events.columns})


def metric_name(metric: Metric) -> str:
    """A measure's name in a row, with its answer and split."""
    return f"{metric.name} ({', '.join(filter(None, (metric.answer, metric.split)))})"


def now() -> str:
    """The time in UTC, ISO 8601 with milliseconds."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def user_name() -> str:
    """Who runs this process, or "unknown"."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no such user: a container's bare number
        return "unknown"
