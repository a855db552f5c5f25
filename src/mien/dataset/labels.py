"""Class names: one canonical spelling, and the synonyms that data sets use for it."""

from __future__ import annotations

from collections.abc import Iterable

SEVEN = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
"""The seven classes of FER2013 in mien's order (alphabetical, as class folders are)."""

SYNONYMS: dict[str, str] = {
    "anger": "angry",
    "disgusted": "disgust",
    "fearful": "fear",
    "scared": "fear",
    "happiness": "happy",
    "happily": "happy",
    "joy": "happy",
    "calm": "neutral",
    "neutrality": "neutral",
    "sadness": "sad",
    "surprised": "surprise",
    "suprise": "surprise",
}
"""Spelling found in the wild -> mien's name. Anything not listed keeps its own (lower-case) name."""


MOST_VOTES = 1000
"""Votes of one picture for one class: more is a slip, and drawing panels of them would fill the memory."""


def canonical(name: str) -> str:
    """Lower-case `name`, spaces and dashes as underscores, synonyms resolved ("Happiness" -> "happy")."""
    key = name.strip().lower().replace(" ", "_").replace("-", "_")
    return SYNONYMS.get(key, key)


def vote_count(cell: str) -> int:
    """A cell of a table of votes; none where it is empty.

    Raises:
        ValueError: no whole number from 0 to `MOST_VOTES`.
    """
    digits = cell.strip()
    if not digits:
        return 0
    if not (digits.isascii() and digits.isdigit()) or len(digits.lstrip("0")) > len(str(MOST_VOTES)):
        raise ValueError(f"expected a number of votes from 0 to {MOST_VOTES:,}, found {cell[:60]!r}")
    if (count := int(digits)) > MOST_VOTES:
        raise ValueError(f"expected a number of votes from 0 to {MOST_VOTES:,}, found {count:,}")
    return count


def clashes(names: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of different names that mean the same class, e.g. ("Happy", "happy")."""
    seen: dict[str, str] = {}
    found: list[tuple[str, str]] = []
    for name in names:
        first = seen.setdefault(canonical(name), name)
        if first != name:
            found.append((first, name))
    return found
