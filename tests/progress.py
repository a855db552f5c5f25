"""A progress that remembers."""

from __future__ import annotations


class Told:
    """Keeps what it is told: `steps` of (what, done, total), and `names`, each once, in order."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, int, int | None]] = []

    def update(self, what: str, done: int, total: int | None = None, note: str = "") -> None:
        self.steps.append((what, done, total))

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys(what for what, _, _ in self.steps))
