"""Pictures and videos inside zip and tar archives -> frames. Nothing is written: a member's name is only a label."""

from __future__ import annotations

import io
import os
import stat
import threading
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path, PurePosixPath

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
from mien.media.formats import HEAD_BYTES, IMAGE_SUFFIXES, VIDEO_SUFFIXES, kind_of
from mien.media.image import Reduction, decode
from mien.media.limits import USUAL, Limits
from mien.media.tarball import Unpacked, cut_out, list_tar, unpacker, walk_tar
from mien.media.video import WHOLE, Clip
from mien.records import Failure, Frame

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
"""What is read as an archive. How a tar is compressed is told by its first bytes."""

ZIP_END_BYTES = 22 + 65_535 + 20
"""The end of a zip: its last record, with the longest comment, and what zip64 has before it."""

PIECE = 4096
"""Bytes of a zip's member read at once: `zipfile` unpacks so much of bzip2 and LZMA in one go, to 80 MB at worst."""


def is_archive(path: Path) -> bool:
    """Whether the name is an archive's."""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def list_archive(path: Path, note: Callable[[str], None] = lambda text: None) -> list[Member]:
    """The pictures and videos of a zip or plain tar, sorted as a folder's are; of several with one name, the last.

    Passed over are folders, hidden members, `__MACOSX`, and what is neither by its suffix nor by its first bytes.
    `note` is called with a sentence that counts the last by suffix (not for a compressed tar, which is read later).

    A compressed tar becomes one member without a name. It is a single stream: to reach anything in it, all before it
    must be unpacked. Members read independently, by several processes, would unpack it again and again.

    Raises:
        MediaError: not such an archive, or none that this Python can unpack; too many members; no picture or video.
    """
    if _is_zip(path):
        return _list_zip(path, note)
    try:
        with path.open("rb") as file:
            return [Member("")] if unpacker(file, path) else list_tar(file, path, note)
    except OSError as error:
        raise MediaError(f"{path}: cannot be read ({reason(error)})") from error


def read_member(
    path: Path, member: Member, limits: Limits = USUAL, clip: Clip = WHOLE, reduction: Reduction | None = None
) -> Iterator[Frame | Failure]:
    """The frames of one member, or, where it has no name, of each in the archive, under their own sources.

    Raises:
        MediaError: it cannot be read, or not to its end.
    """
    if member.name:
        yield from _frames(member_bytes(path, member), member.source(path), limits, clip, reduction)
    else:
        yield from _read_stream(path, limits, clip, reduction)


def member_bytes(path: Path, member: Member) -> bytes:
    """What a member of a zip or plain tar holds. Any process or thread may ask, for any member at any time.

    Raises:
        MediaError: damaged, encrypted, packed in an unknown way, larger than `MAX_BYTES` or beyond `MAX_RATIO`.
    """
    source = member.source(path)
    if _is_zip(path):
        return _unzip(path, member.name, source)
    try:
        with path.open("rb") as file:
            return cut_out(file, member, source)
    except OSError as error:
        raise MediaError(f"{source}: cannot be read ({reason(error)})") from error


def _read_stream(path: Path, limits: Limits, clip: Clip, reduction: Reduction | None) -> Iterator[Frame | Failure]:
    found, others = 0, Counter[str]()
    try:
        raw = path.open("rb")
    except OSError as error:
        raise MediaError(f"{path}: cannot be read ({reason(error)})") from error
    with raw:
        file = Unpacked(raw, path)
        for member in walk_tar(file, path):
            if isinstance(member, str):
                others[member] += 1
                continue
            found, index, source = found + 1, 0, member.source(path)
            try:
                for result in _frames(cut_out(file, member, source), source, limits, clip, reduction):
                    yield result
                    index += isinstance(result, Frame)
            except MediaError as error:
                yield Failure(source, index, str(error))
        file.finish()
    if not found:
        raise no_pictures(path, others)


def _frames(
    data: bytes, source: str, limits: Limits, clip: Clip, reduction: Reduction | None
) -> Iterator[Frame | Failure]:
    suffix = PurePosixPath(source).suffix.lower()
    is_video = suffix in VIDEO_SUFFIXES or (suffix not in IMAGE_SUFFIXES and kind_of(data[:HEAD_BYTES]) == "video")
    if not is_video:
        yield from decode(data, source, limits, reduction)
        return
    from mien.media.video import decode_track, find_track, pyav

    av = pyav()
    try:
        container = av.open(io.BytesIO(data), metadata_errors="ignore")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise MediaError(f"{source}: cannot be read as a video ({reason(error)})") from error
    with closing(container):
        track = find_track(av, container, source, limits.max_pixels)
        yield from decode_track(av, container, track, source, clip, limits.max_pixels)


# --- zip --------------------------------------------------------------------------------------------------------------

_open = threading.local()
"""The zip that a thread has open: `archive`, its `size` in bytes, and `key`, which tells it from any other."""


def _is_zip(path: Path) -> bool:
    return path.suffix.lower() == ".zip"


def _zip(path: Path) -> zipfile.ZipFile:
    """The archive. It stays open until its thread ends or opens another one: reading its directory takes time."""
    try:
        found = path.stat()
        # With the process in it: a forked one would share its parent's position in the file.
        key = (os.getpid(), path, found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
        if getattr(_open, "key", None) != key:
            if getattr(_open, "key", None):
                _open.key = None
                _open.archive.close()
            _open.archive, _open.size = zipfile.ZipFile(path), found.st_size
            _open.key = key
    except Exception as error:  # zipfile raises whatever a damaged directory drives it into
        raise MediaError(
            f"{path}: cannot be opened as a zip archive ({reason(error)}); expected a whole one, with its directory at "
            "the end: get the file again"
        ) from error
    return _open.archive


def _list_zip(path: Path, note: Callable[[str], None]) -> list[Member]:
    infos = _zip(path).infolist()
    check_number(path, len(infos))
    declared = _declared_entries(path)
    short = declared is not None and declared > len(infos)
    if short and not infos:
        raise MediaError(f"{path}: its directory declares {declared:,} entries and lists none; get the file again")
    kinds = {
        info.filename: kind_of_member(info.filename, partial(_zip_head, path, info))
        for info in infos
        if not info.is_dir()
    }
    members = [Member(name, video=kind == "video") for name, kind in kinds.items() if kind in ("picture", "video")]
    others = Counter(suffix_of(name) for name, kind in kinds.items() if kind is None)
    if not members:
        raise no_pictures(path, others)
    if others:
        note(f"{path}: passed over {counted(others)}")
    if twice := sum(not info.is_dir() for info in infos) - len(kinds):
        note(replaced(path, twice))
    found = in_order(members, path)
    if short:
        problem = f"its directory declares {declared:,} entries and lists {len(infos):,}: some are lost"
        found.append(Member("", problem=f"{path}: {problem}; get the file again"))
    return found


def _declared_entries(path: Path) -> int | None:
    """How many entries the end of a zip declares; None where it does not say.

    `zipfile` goes by the directory's size in bytes alone, and passes over entries that are lost.
    """
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            start = file.seek(max(end - ZIP_END_BYTES, 0))
            tail = file.read()
            at = tail.rfind(b"PK\x05\x06")
            number = int.from_bytes(tail[at + 10 : at + 12], "little")
            if at < 0 or number < 0xFFFF:
                return number if at >= 0 else None
            locator = tail[max(at - 20, 0) : at]  # of zip64
            if locator[:4] != b"PK\x06\x07":
                return None
            file.seek(int.from_bytes(locator[8:16], "little"))
            record = file.read(56)
            return int.from_bytes(record[32:40], "little") if record[:4] == b"PK\x06\x06" and start <= end else None
    except (OSError, OverflowError, ValueError):
        return None


def _zip_head(path: Path, info: zipfile.ZipInfo) -> bytes:
    try:
        with _zip(path).open(info) as file:
            return file.read(HEAD_BYTES)
    except Exception:  # encrypted, damaged or packed in an unknown way: by its name it is no picture
        return b""


def _unzip(path: Path, name: str, source: str) -> bytes:
    archive = _zip(path)
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise MediaError(f"{source}: not there any more; the archive was changed while it was read") from None
    if stat.S_ISLNK(info.external_attr >> 16):
        raise MediaError(f"{source}: expected a file, found a link, which is not followed; {ADVICE}")
    if info.flag_bits & 1:
        raise MediaError(f"{source}: encrypted; expected a file that needs no password; {ADVICE}")
    check_size(source, info.file_size)
    packed = min(info.compress_size, _open.size)  # the first is only declared
    data = bytearray()
    try:
        with archive.open(info) as file:
            while piece := file.read(PIECE):
                data += piece
                check_size(source, len(data))
                check_ratio(source, len(data), packed)
    except MediaError:
        raise
    except NotImplementedError:
        raise MediaError(
            f"{source}: packed by method {info.compress_type}; expected none, deflate, bzip2 or LZMA; {ADVICE}"
        ) from None
    except Exception as error:
        raise MediaError(
            f"{source}: damaged in the archive ({reason(error)}): expected {info.file_size:,} bytes, {len(data):,} "
            "came out; get the archive again"
        ) from error
    return bytes(data)
