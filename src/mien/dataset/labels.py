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


def canonical(name: str) -> str:
    """Lower-case `name`, spaces and dashes as underscores, synonyms resolved ("Happiness" -> "happy")."""
    key = name.strip().lower().replace(" ", "_").replace("-", "_")
    return SYNONYMS.get(key, key)


def clashes(names: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of different names that mean the same class, e.g. ("Happy", "happy")."""
    seen: dict[str, str] = {}
    found: list[tuple[str, str]] = []
    for name in names:
        first = seen.setdefault(canonical(name), name)
        if first != name:
            found.append((first, name))
    return found
