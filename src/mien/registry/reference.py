"""`NAME@3` and `NAME@production`: how a version is named."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mien.errors import RegistryError
from mien.registry.versions import PRODUCTION

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.IGNORECASE)
MAX_VERSION = 2**31 - 1
"""The largest number that every database holds in an integer column."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A model's name and, after the `@`, a version's number or an alias."""

    model: str
    version: int | None
    alias: str | None

    def __str__(self) -> str:
        return f"{self.model}@{self.version if self.alias is None else self.alias}"


def is_reference(text: str) -> bool:
    """Whether the text has the form of a reference; the version need not exist."""
    name, at, rest = text.partition("@")
    return bool(at and _NAME.fullmatch(name) and _NAME.fullmatch(rest))


def parse_reference(text: str) -> Reference:
    """Read `NAME@3`, `NAME@ALIAS`, or `NAME` for `NAME@production`.

    Raises:
        RegistryError: another form.
    """
    name, at, rest = text.partition("@")
    if not at:
        return Reference(check_name(name, "model"), None, PRODUCTION)
    if not is_reference(text):
        raise RegistryError(f"expected NAME@3 or NAME@production, found {text!r}")
    if rest.isdecimal():
        return Reference(name, check_number(int(rest)), None)
    return Reference(name, None, rest)


def check_name(name: str, what: str) -> str:
    """Return `name` as it is.

    Raises:
        RegistryError: not a name that a model or alias may have.
    """
    if not _NAME.fullmatch(name) or (what == "alias" and name.isdecimal()):
        raise RegistryError(
            f"{what} {name!r}: expected 1 to 64 letters, digits, dots, dashes and underscores, the first a letter or "
            f"digit{', and not a number' if what == 'alias' else ''}"
        )
    return name


def check_number(number: int) -> int:
    """Return a version's number as it is.

    Raises:
        RegistryError: not from 1 on, or larger than a database holds.
    """
    if not 1 <= number <= MAX_VERSION:
        raise RegistryError(f"version {number}: expected a number from 1 to {MAX_VERSION}")
    return number
