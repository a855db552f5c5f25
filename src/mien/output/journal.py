"""How far a long run has come, so that it can go on after being killed.

The journal of `faces.csv` is `faces.csv.partial.run`, beside `faces.csv.partial`. Its first line says in JSON what the
run is; each further line, `ITEMS ROWS BYTES`, that the first ITEMS items are done, and that their ROWS rows end after
BYTES bytes of the partial file. A line is written after its rows: whatever a kill cuts off is done again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from mien.errors import OutputError, Remedy

About = Mapping[str, Any]
"""What makes two runs the same, ready for JSON: sources, model, options."""


@dataclass(frozen=True, slots=True)
class Position:
    """The first `items` items are done; their `rows` rows take `size` bytes."""

    items: int = 0
    rows: int = 0
    size: int = 0


def journal_of(partial: Path) -> Path:
    """Where the journal of a partial file is."""
    return partial.with_name(partial.name + ".run")


class Journal:
    """The journal of one run. Made by `begin` or `go_on`."""

    def __init__(self, path: Path, file: BinaryIO, position: Position) -> None:
        self.path, self.position = path, position
        self._file = file

    @classmethod
    def begin(cls, partial: Path, about: About) -> Journal:
        """Start one, in place of any that is there."""
        path = journal_of(partial)
        file = path.open("wb")
        file.write(json.dumps(about).encode() + b"\n")
        file.flush()
        return cls(path, file, Position())

    @classmethod
    def go_on(cls, partial: Path, about: About) -> Journal:
        """Take up the one that is there.

        Raises:
            OutputError: there is none, or it belongs to another run; says in what they differ.
        """
        path = journal_of(partial)
        try:
            lines = path.read_bytes().split(b"\n")[:-1]  # what has no line end was cut off
            found = json.loads(lines[0])
        except (OSError, ValueError, IndexError):
            raise OutputError(
                f"{partial}: rows of a run that cannot be gone on with (no journal {path.name}); move them away, or "
                "replace them",
                Remedy.OVERWRITE,
            ) from None
        wanted = json.loads(json.dumps(about))
        changed = [
            f"{key} was {_short(found.get(key))}, is {_short(wanted.get(key))}"
            for key in {**found, **wanted}
            if found.get(key) != wanted.get(key)
        ]
        if changed:
            raise OutputError(
                f"{partial}: rows of another run: {'; '.join(changed)}. Go on with that run as it was begun, or "
                "replace them",
                Remedy.RESUME,
                Remedy.OVERWRITE,
            )
        file = path.open("r+b")
        file.truncate(sum(len(line) + 1 for line in lines))
        file.seek(0, 2)
        return cls(path, file, Position(*map(int, lines[-1].split())) if len(lines) > 1 else Position())

    def note(self, position: Position) -> None:
        """Write down how far the run is, if that is further than before."""
        if position != self.position:
            self._file.write(f"{position.items} {position.rows} {position.size}\n".encode())
            self._file.flush()
            self.position = position

    def close(self) -> None:
        """Leave it for another time."""
        self._file.close()

    def remove(self) -> None:
        """The run is complete."""
        self.close()
        self.path.unlink(missing_ok=True)


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."
