"""Text from strangers' files on a terminal: what could move the cursor, clear the screen or forge a line is escaped."""

from __future__ import annotations

from copy import copy
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

T = TypeVar("T")


def printable(text: str, keep: str = "") -> str:
    """`text` with every character that does not print as itself escaped: "\\x1b" for an escape, "\\n" for a newline.

    Args:
        text: of any origin.
        keep: characters that stay, such as the newlines of a text whose parts are escaped already.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in keep else c.encode("unicode_escape", "backslashreplace").decode() for c in text
    )


def escaped(value: T) -> T:
    """The same records, lists and dictionaries with every text in them `printable`: for a report, before its layout."""
    return cast("T", _escaped(value))


def _escaped(value: Any) -> Any:
    kind, whole = cast("Any", type(value)), value
    if kind is str:  # not an enumeration's member
        return printable(value)
    if issubclass(kind, Path):
        text = str(value)
        return value if text.isprintable() else Path(printable(text))
    if is_dataclass(kind):
        changed = {f.name: new for f in fields(kind) if (new := _escaped(old := getattr(value, f.name))) is not old}
        return replace(value, **changed) if changed else value
    if issubclass(kind, dict):
        pairs = list(value.items())
        new = _escaped(pairs)
        if new is pairs:
            return value
        made: Any = copy(value)  # of the same kind, a Counter, say
        made.clear()
        dict.update(made, new)  # a Counter's own would count them
        return made
    if kind in (list, tuple):
        parts: list[Any] = [_escaped(part) for part in whole]
        return whole if all(a is b for a, b in zip(parts, whole, strict=True)) else cast("Any", kind(parts))
    return whole
