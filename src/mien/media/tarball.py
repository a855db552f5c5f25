"""Tar archives -> members and their bytes. A compressed one is a single stream, read from front to end."""

from __future__ import annotations

import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from mien.errors import MediaError, reason
from mien.media.archive_members import (
    ADVICE,
    Member,
    check_number,
    check_ratio,
    check_size,
    in_order,
    kind_of_member,
    no_pictures,
    replaced,
    suffix_of,
)
from mien.media.folder_walk import counted
from mien.media.formats import HEAD_BYTES

COMPRESSIONS = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bz2",
    b"\xfd7zXZ\0": "lzma",
    b"\x28\xb5\x2f\xfd": "compression.zstd",  # from Python 3.14 on
}
"""First bytes of a compressed file -> the module that unpacks it."""

MAX_HEADER_BYTES = 262_144
"""Largest long name or extended header (pax) of a member: both are held in memory."""

MAX_PAX_HEADERS = 100
"""Most extended headers that hold for a whole archive."""

PIECE = 65536
"""Bytes unpacked at once."""


def list_tar(file: BinaryIO, path: Path, note: Callable[[str], None] = lambda text: None) -> list[Member]:
    """The pictures and videos of a plain tar, in order; of several with one name, the last, as when it is unpacked.

    One that is damaged on the way has its pictures before that, and the problem as a last, nameless member.

    Raises:
        MediaError: not a tar, too many members, or no picture or video.
    """
    members: dict[str, Member] = {}
    others: Counter[str] = Counter()
    problem: list[Member] = []
    twice = 0
    try:
        for member in walk_tar(file, path):
            if isinstance(member, str):
                others[member] += 1
            else:
                twice += member.source(path) in members
                members[member.source(path)] = member
    except MediaError as error:
        if not members:
            raise
        problem = [Member("", problem=str(error))]
    if not members:
        raise no_pictures(path, others)
    if others:
        note(f"{path}: passed over {counted(others)}")
    if twice:
        note(replaced(path, twice))
    return in_order(members.values(), path) + problem


def walk_tar(file: Any, path: Path) -> Iterator[Member | str]:
    """Each picture or video of a tar, as they come, and its suffix for each other file that is not hidden.

    Args:
        file: an open file, or an `Unpacked`, which goes forward only.
        path: what it is called.

    Raises:
        MediaError: not a tar, or damaged from here on; too many members.
    """
    number = 0
    try:
        with tarfile.open(fileobj=file, mode="r:", tarinfo=_Header) as opened:
            tar: Any = opened
            while info := tar.next():
                tar.members.clear()  # it would hold all of them
                if len(tar.pax_headers) > MAX_PAX_HEADERS:
                    raise tarfile.ReadError(f"more than {MAX_PAX_HEADERS} headers for the whole archive")
                number += 1
                check_number(path, number)
                if info.size < 0:  # what follows it would be itself
                    raise tarfile.ReadError(f"{info.name!r} of {info.size} bytes")
                kind = "hidden" if info.isdir() else kind_of_member(info.name, partial(_head, file, info))
                if kind in ("picture", "video"):
                    yield replace(_member(info, path), video=kind == "video")
                elif kind is None:
                    yield suffix_of(info.name)
            _refuse_more(file, tar.offset, path)
    except MediaError:
        raise
    except Exception as error:  # tarfile, and what unpacks, raise whatever a damaged file drives them into
        raise MediaError(
            f"{path}: {f'truncated or damaged after {number} members' if number else 'not a tar archive'} "
            f"({reason(error)}); expected a whole one: get the file again"
        ) from error


def _refuse_more(file: Any, end: int, path: Path) -> None:
    """Refuse what follows the mark at the end, which `tar` and `tarfile` pass over without a word."""
    file.seek(end)
    while piece := file.read(PIECE):
        if piece.strip(b"\0"):
            raise MediaError(
                f"{path}: more follows the mark at its end (byte {end:,}), such as a second archive; it is not read: "
                "unpack it with `tar -x -i` and name the folder"
            )


def _head(file: Any, info: tarfile.TarInfo) -> bytes:
    if not info.isfile():
        return b""
    file.seek(info.offset_data)
    size = min(info.size, HEAD_BYTES)
    return file.peek_exactly(size) if isinstance(file, Unpacked) else file.read(size)


def cut_out(file: Any, member: Member, source: str) -> bytes:
    """What a member holds.

    Raises:
        MediaError: a link or the like, larger than `MAX_BYTES`, damaged or truncated.
    """
    if member.problem:
        raise MediaError(member.problem)
    check_size(source, member.size)
    try:
        file.seek(member.offset)
        data = file.read(member.size)
    except MediaError as error:
        raise MediaError(f"{source}: cannot be unpacked: {error}") from error
    except Exception as error:
        raise MediaError(f"{source}: damaged in the archive ({reason(error)}); get the archive again") from error
    if len(data) < member.size:
        raise MediaError(
            f"{source}: the archive is truncated: {len(data):,} of {member.size:,} bytes are there; get it again"
        )
    return data


_IN_MEMORY = frozenset({
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
})  # fmt: skip
"""Types of headers that say more about the next one."""

HeaderError, ReadError = tarfile.HeaderError, tarfile.ReadError  # below, `tarfile` names a parameter


class _Header(tarfile.TarInfo):
    """A header of a tar. What is none is an error: `tarfile` would take it for the end, and pass over the rest."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Header:
        header = super().frombuf(buf, encoding, errors)
        if header.type in _IN_MEMORY and header.size > MAX_HEADER_BYTES:
            raise ReadError(f"a header of {header.size:,} bytes; expected at most {MAX_HEADER_BYTES:,}")
        return header

    def _proc_gnusparse_10(self, next: tarfile.TarInfo, pax_headers: object, tar: object) -> None:
        """A member with holes is refused: its map, which may be as long as the archive, is not read."""
        setattr(next, "sparse", [])  # noqa: B010 - its type does not declare it

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> _Header:
        try:
            return super().fromtarfile(tarfile)
        except HeaderError as error:
            if type(error).__name__ == "EOFHeaderError":  # the mark at the end
                raise
            raise ReadError(f"{error} at byte {tarfile.offset:,}") from error


def _member(info: tarfile.TarInfo, path: Path) -> Member:
    member = Member(info.name, info.offset_data, info.size)
    if info.issym() or info.islnk():
        found = f"a link to {info.linkname!r}, which is not followed"
    elif not info.isfile():
        found = "a device or pipe"
    elif info.issparse():
        found = "one stored with holes (sparse)"
    else:
        return member
    return Member(info.name, problem=f"{member.source(path)}: expected a file, found {found}; {ADVICE}")


# --- compressed -------------------------------------------------------------------------------------------------------


def unpacker(file: BinaryIO, path: Path) -> Any:
    """The module that unpacks a file, by its first bytes; None if it is not compressed. The file stays at its start.

    Raises:
        MediaError: this Python does not have the module.
    """
    head = file.read(8)
    file.seek(0)
    name = next((name for magic, name in COMPRESSIONS.items() if head.startswith(magic)), None)
    try:
        return import_module(name) if name else None
    except ImportError:
        raise MediaError(f"{path}: unpacking it needs Python's module {name}, which is not here; {ADVICE}") from None


class Unpacked:
    """What a compressed file unpacks to, as a file that goes forward only, and no further than `MAX_RATIO` allows."""

    def __init__(self, raw: BinaryIO, path: Path) -> None:
        self._raw, self._path = raw, path
        module = unpacker(raw, path)
        self._file: Any = module.open(raw, "rb") if module else raw
        self._at = 0
        self._ahead = b""

    def peek_exactly(self, size: int) -> bytes:
        """The next bytes, without going past them; fewer only at the end."""
        self._ahead = self.read(size)
        self._at -= len(self._ahead)
        return self._ahead

    def tell(self) -> int:
        """Bytes unpacked so far."""
        return self._at

    def seek(self, position: int) -> int:
        """Unpack up to there."""
        while self._at < position and self._next(position - self._at):
            pass
        return self._at

    def read(self, size: int) -> bytes:
        """The next bytes, fewer only at the end."""
        data = bytearray()
        while len(data) < size and (piece := self._next(size - len(data))):
            data += piece
        return bytes(data)

    def finish(self) -> None:
        """Unpack the rest: the checksum of all comes last.

        Raises:
            MediaError: it is missing, or wrong.
        """
        try:
            while self._next(PIECE):
                pass
        except MediaError:
            raise
        except Exception as error:
            raise MediaError(
                f"{self._path}: truncated or damaged ({reason(error)}), and so may any picture in it be; get it again"
            ) from error

    def _next(self, size: int) -> bytes:
        if self._ahead:
            piece, self._ahead = self._ahead[:size], self._ahead[size:]
            self._at += len(piece)
            return piece
        piece = self._file.read(min(size, PIECE))
        self._at += len(piece)
        check_ratio(str(self._path), self._at, self._raw.tell())
        return piece
