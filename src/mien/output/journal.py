"""How far a long run has come, so that it can go on after being killed; and what a finished one was.

The journal of `faces.csv` is `faces.csv.partial.run`, beside `faces.csv.partial`. Its first line says in JSON what the
run is; each further line is a `Position`. Every line ends in its own CRC-32, and a position has that of the partial
file up to it. Whatever a kill, a power cut or a bad disk did, a run goes on from the last position that both files
agree on. When the run is finished the journal goes, and `faces.csv.run` keeps what it was and what it came to.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, cast

from mien.errors import OutputError, Remedy
from mien.files import write_bytes

About = Mapping[str, Any]
"""What makes two runs the same, ready for JSON: sources, model, options."""

SYNC_S = 1.0
"""How often both files are forced onto the disk: a power cut costs no more than that."""

_BLOCK = 1 << 20
"""Bytes that are read at once."""


@dataclass(frozen=True, slots=True)
class Position:
    """The first `items` items are done; what came of them.

    Attributes:
        items: items of the run that are done.
        rows: rows written for them.
        size: bytes that these rows take, a header included.
        crc: CRC-32 of these bytes.
        pictures: pictures and frames that were read.
        faces: faces found in them.
        failed: pictures that could not be read.
        copies: items left out as copies of others.
    """

    items: int = 0
    rows: int = 0
    size: int = 0
    crc: int = 0
    pictures: int = 0
    faces: int = 0
    failed: int = 0
    copies: int = 0


def journal_of(partial: Path) -> Path:
    """Where the journal of a partial file is."""
    return partial.with_name(partial.name + ".run")


def record_of(path: Path) -> Path:
    """Where it says what a finished file's run was."""
    return path.with_name(path.name + ".run")


class Journal:
    """The journal of one run. Made by `begin` or `go_on`.

    Attributes:
        about: what the run is.
        position: how far it is.
        seen: digests of the files that were read, where copies are left out.
        damage: what of the two files did not fit together, in words; it is read again. Empty if all did.
    """

    def __init__(
        self, path: Path, file: BinaryIO, about: About, position: Position, seen: Sequence[str] = (), damage: str = ""
    ) -> None:
        self.path, self.about, self.position = path, about, position
        self.seen, self.damage = tuple(seen), damage
        self._file = file
        self._synced = time.monotonic()

    @classmethod
    def begin(cls, partial: Path, about: About) -> Journal:
        """Start one, in place of any that is there; before its partial file is made."""
        path = journal_of(partial)
        write_bytes(path, _line(json.dumps(about)))
        return cls(path, path.open("ab"), about, Position())

    @classmethod
    def go_on(cls, partial: Path, about: About) -> Journal:
        """Take up the one that is there, and cut both files back to what they agree on.

        Raises:
            OutputError: there is none, or it belongs to another run; says in what they differ.
        """
        path = journal_of(partial)
        found, entries, whole = _read(partial)
        check_same(partial, found, about, Remedy.RESUME, Remedy.OVERWRITE)
        agreed = _agreed(partial, [position for position, _ in entries])
        size = whole[len(agreed)]
        with path.open("r+b") as file:
            file.truncate(size)
        position = agreed[-1] if agreed else Position()
        with partial.open("r+b") as file:
            file.truncate(position.size)
        lost = len(entries) - len(agreed)
        damage = f"{partial}: does not fit its journal from item {position.items + 1} on; that is read again"
        seen = [digest for _, digests in entries[: len(agreed)] for digest in digests]
        return cls(path, path.open("ab"), found, position, seen, damage if lost else "")

    def note(self, position: Position, partial: BinaryIO, seen: Sequence[str] = ()) -> None:
        """Write down how far the run is, if that is further than before.

        Args:
            position: how far.
            partial: the open file of rows, flushed; forced onto the disk now and then, before the journal.
            seen: digests of the files that were read since the last note.

        Raises:
            OSError: it cannot be written.
        """
        if position == self.position:
            return
        self._file.write(_line(json.dumps([*astuple(position), *seen])))
        self._file.flush()
        self.position = position
        if time.monotonic() - self._synced >= SYNC_S:
            os.fsync(partial.fileno())
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def close(self) -> None:
        """Leave it for another time."""
        self._file.close()

    def finish(self, path: Path, partial: Path, position: Position) -> None:
        """The run is complete, and its rows are in the file `path`: keep what it was; remove partial file and journal.

        Raises:
            OutputError: the record cannot be written.
        """
        self.close()
        _write_record(path, self.about, position)
        partial.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Nothing of the run is kept."""
        self.close()
        self.path.unlink(missing_ok=True)


def finished(path: Path, partial: Path, about: About) -> Position | None:
    """What the finished run into `path` came to; None if no finished file is there.

    Raises:
        OutputError: it was another run (says in what they differ), nobody knows which, or the file was changed since.
    """
    if not path.exists() or partial.exists():
        return None
    if journal_of(partial).exists():  # killed between the last two steps
        found, entries, _ = _read(partial)
        last = entries[-1][0] if entries else Position()
        if (last.size, last.crc) == _checked(path):
            _write_record(path, found, last)
            journal_of(partial).unlink()
    try:
        found, came = cast("tuple[Any, Any]", [_parse(line) for line in record_of(path).read_bytes().splitlines()])
        position = Position(**came)
    except (OSError, ValueError, TypeError):
        raise OutputError(
            f"{path}: exists already, and {record_of(path).name} does not say of which run; choose another name, or "
            "replace it",
            Remedy.OUT,
            Remedy.OVERWRITE,
        ) from None
    check_same(path, found, about, Remedy.OUT, Remedy.OVERWRITE)
    if (position.size, position.crc) != _checked(path):
        raise OutputError(
            f"{path}: was changed since its run wrote it; move it away, or replace it", Remedy.OUT, Remedy.OVERWRITE
        )
    return position


def check_same(path: Path, found: About, wanted: About, *remedies: Remedy) -> None:
    """Refuse to go on with another run.

    Raises:
        OutputError: says in what `wanted` differs from what was `found`.
    """
    if changed := difference(found, wanted):
        raise OutputError(
            f"{path}: rows of another run: {changed}. Go on with that run as it was begun, choose another "
            "name, or replace them",
            *remedies,
        )


def difference(found: About, wanted: About) -> str:
    """In what two runs differ, in words; empty if in nothing."""
    wanted = json.loads(json.dumps(wanted))
    return "; ".join(
        f"{key} was {_short(found.get(key))}, is {_short(wanted.get(key))}"
        for key in {**found, **wanted}
        if found.get(key) != wanted.get(key)
    )


def _read(partial: Path) -> tuple[dict[str, Any], list[tuple[Position, list[str]]], list[int]]:
    """What the run is, its positions with the digests noted there, and the bytes up to and with each line."""
    path = journal_of(partial)
    try:
        lines = path.read_bytes().split(b"\n")[:-1]  # what has no line end was cut off
        about = _parse(lines[0])
        if not isinstance(about, dict):
            raise ValueError(about)
    except (OSError, ValueError, IndexError):
        raise OutputError(
            f"{partial}: rows of a run that cannot be gone on with (no journal {path.name}, or a damaged one); move "
            "them away, or replace them",
            Remedy.OVERWRITE,
        ) from None
    entries: list[tuple[Position, list[str]]] = []
    sizes = [len(lines[0]) + 1]
    for line in lines[1:]:
        try:
            fields: Any = _parse(line)
            entries.append((Position(*fields[:8]), fields[8:]))
        except (ValueError, TypeError):
            # A torn or damaged line; nothing behind it is sure. A position that fits nothing has it cut off, and said.
            entries.append((Position(size=-1), []))
            break
        sizes.append(sizes[-1] + len(line) + 1)
    return cast("dict[str, Any]", about), entries, sizes


def _agreed(partial: Path, positions: Sequence[Position]) -> list[Position]:
    """The first of the positions, as many as the partial file bears out."""
    agreed: list[Position] = []
    crc = at = 0
    with partial.open("rb") as file:
        for position in positions:
            for block in _blocks(file, position.size - at):
                crc = zlib.crc32(block, crc)
                at += len(block)
            if (at, crc) != (position.size, position.crc):
                break
            agreed.append(position)
    return agreed


def _checked(path: Path) -> tuple[int, int]:
    """Size and CRC-32 of a file."""
    size = crc = 0
    with path.open("rb") as file:
        for block in _blocks(file, path.stat().st_size):
            size, crc = size + len(block), zlib.crc32(block, crc)
    return size, crc


def _blocks(file: BinaryIO, size: int) -> Iterator[bytes]:
    while size > 0 and (block := file.read(min(size, _BLOCK))):
        size -= len(block)
        yield block


def _write_record(path: Path, about: About, position: Position) -> None:
    size, crc = _checked(path)  # a Parquet file is not the rows that the journal counts
    came = asdict(replace(position, size=size, crc=crc))
    write_bytes(record_of(path), _line(json.dumps(about)) + _line(json.dumps(came)))


def _line(text: str) -> bytes:
    data = text.encode()
    return data + b" %08x\n" % zlib.crc32(data)


def _parse(line: bytes) -> object:
    data, check = line[:-9], line[-8:]
    if b"%08x" % zlib.crc32(data) != check:
        raise ValueError(line)
    return json.loads(data)


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."
