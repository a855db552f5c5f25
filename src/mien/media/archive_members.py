"""Members of archives: which ones are read, what they are called, and how large one may be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from posixpath import splitext

from mien.errors import MediaError
from mien.media.folder_walk import counted
from mien.media.formats import IMAGE_SUFFIXES, OTHER_SUFFIXES, VIDEO_SUFFIXES, kind_of

MAX_BYTES = 200_000_000
"""Largest member read, in bytes unpacked: it is held in memory. Any camera's picture fits, and a short video."""

MAX_RATIO = 200
"""Most that may be unpacked, as a multiple of what is packed: far above photos, far below what bombs need."""

FREE_BYTES = 10_000_000
"""Up to here the ratio does not count: a drawing in few colors packs better than any photo."""

MAX_MEMBERS = 1_000_000
"""Most members of one archive: the names of most are held in memory."""

ADVICE = "unpack the archive and name the folder"

_SUFFIXES = IMAGE_SUFFIXES | VIDEO_SUFFIXES


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive, and where it is found again.

    Attributes:
        name: as the archive has it; empty for the archive as a whole, where it is read from front to end.
        offset, size: of its bytes, in a tar. A zip has a directory of its own.
        problem: why it cannot be read, where that is known from the start: a link has no bytes.
        video: whether it is a video by its first bytes, where its name does not say.
    """

    name: str
    offset: int = 0
    size: int = 0
    problem: str | None = None
    video: bool = False

    def source(self, archive: Path) -> str:
        """What its frames are called: `photos.zip/folder/a.jpg`."""
        return "/".join([str(archive), *_parts(self.name)])


def kind_of_member(name: str, head: Callable[[], bytes]) -> str | None:
    """ "picture" or "video", by the name's suffix, or else the first bytes; "hidden"; None for another file.

    Args:
        name: as the archive has it.
        head: the member's first `HEAD_BYTES` bytes, asked for where the name does not say.
    """
    if any(part == "__MACOSX" or (part.startswith(".") and part != "..") for part in _parts(name)):
        return "hidden"
    suffix = splitext(name)[1].lower()
    if suffix in _SUFFIXES:
        return "video" if suffix in VIDEO_SUFFIXES else "picture"
    return None if suffix in OTHER_SUFFIXES else kind_of(head())


def suffix_of(name: str) -> str:
    """Under what a member is counted that is passed over."""
    return splitext(name)[1].lower() or "no suffix"


def _parts(name: str) -> list[str]:
    return [part for part in name.split("/") if part not in ("", ".")]  # pathlib takes three times as long


def in_order(members: Iterable[Member], path: Path) -> list[Member]:
    """Sorted as the files of a folder are."""
    return sorted(members, key=lambda member: member.source(path).split("/"))


def check_size(source: str, size: int) -> None:
    """Refuse a member of more than `MAX_BYTES` bytes."""
    if size > MAX_BYTES:
        raise MediaError(f"{source}: {size:,} bytes; expected at most {MAX_BYTES:,} inside an archive; {ADVICE}")


def check_ratio(source: str, unpacked: int, packed: int) -> None:
    """Refuse `packed` bytes that have become `unpacked`, if that is more than `FREE_BYTES` and `MAX_RATIO` times."""
    if unpacked > max(FREE_BYTES, MAX_RATIO * packed):
        raise MediaError(
            f"{source}: {packed:,} bytes unpack to more than {unpacked:,}; expected at most {MAX_RATIO} times as many, "
            f"else it may be a bomb; if you trust it, {ADVICE}"
        )


def check_number(archive: Path, number: int) -> None:
    """Refuse an archive of more than `MAX_MEMBERS` members."""
    if number > MAX_MEMBERS:
        raise MediaError(f"{archive}: more than {MAX_MEMBERS:,} members; expected at most so many; {ADVICE}")


def replaced(archive: Path, number: int) -> str:
    """What is said of members that another one of the same name follows."""
    earlier = "1 member is" if number == 1 else f"{number:,} members are"
    return f"{archive}: {earlier} not read: a later one has the same name, and takes its place when it is unpacked"


def no_pictures(archive: Path, others: Mapping[str, int]) -> MediaError:
    """The error for an archive in which only other files were found; `others` counts them by suffix."""
    return MediaError(
        f"{archive}: no pictures or videos in this archive, by name or first bytes; found "
        f"{counted(others) if others else 'nothing'} (archives inside it are not searched)"
    )
