"""What the registry holds. Frozen records, ready for JSON by `dataclasses.asdict`."""

from __future__ import annotations

from dataclasses import dataclass

PRODUCTION, SHADOW, CANARY = "production", "shadow", "canary"
"""Aliases that `mien serve` knows: what answers, what is only compared, what answers a share of the requests."""


@dataclass(frozen=True, slots=True)
class Version:
    """One sealed bundle under a name.

    Attributes:
        model, number: the name, and the version, from 1 on.
        sha256: of the whole file; the file is stored under it.
        size: of the file, bytes.
        classes: in the order of the model's outputs.
        metrics: name -> value, those of the manifest.
        created: when it was added, UTC, ISO 8601.
        added_by: the user who added it.
        note: what the user said about it.
    """

    model: str
    number: int
    sha256: str
    size: int
    classes: tuple[str, ...]
    metrics: dict[str, float]
    created: str
    added_by: str
    note: str = ""

    def __str__(self) -> str:
        return f"{self.model}@{self.number}"


@dataclass(frozen=True, slots=True)
class Alias:
    """A name for a version that can move: `production`, `shadow`, `canary`, or one of your own.

    `share` is the part of the requests that a canary answers, 0..1; None for other aliases.
    """

    model: str
    name: str
    version: int
    share: float | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the history. Nothing ever changes or removes it.

    Attributes:
        number: counts events of the whole registry, from 1 on.
        at: UTC, ISO 8601.
        who: the user, or `mien serve` where it acted by itself.
        kind: `add`, `promote`, `rollback` or `stop`.
        alias: the alias that moved; "" for `add`.
        from_version, to_version: None where there was, or is, none.
        why: what the user said, or why `mien serve` acted.
        checks: what held before the promotion: name and finding.
    """

    number: int
    at: str
    who: str
    model: str
    kind: str
    alias: str
    from_version: int | None
    to_version: int | None
    why: str
    checks: dict[str, str]
