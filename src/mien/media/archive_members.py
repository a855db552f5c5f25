"""Members of archives: which ones are read, what they are called, and how large one may be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from posixpath import splitext

from mien.errors import MediaError
from mien.media.image import IMAGE_SUFFIXES
from mien.media.video import VIDEO_SUFFIXES

MAX_BYTES = 200_000_000
"""Largest member read, in bytes unpacked: it is held in memory. Any camera's picture fits, and a short video."""

MAX_RATIO = 200
"""Most that may be unpacked, as a multiple of what is packed: far above photos, far below what bombs need."""

FREE_BYTES = 10_000_000
"""Up to here the ratio does not count: a drawing in few colours packs better than any photo."""

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
    """

    name: str
    offset: int = 0
    size: int = 0
    problem: str | None = None

    def source(self, archive: Path) -> str:
        """What its frames are called: `photos.zip/folder/a.jpg`."""
        return "/".join([str(archive), *_parts(self.name)])


def is_wanted(name: str) -> bool | None:
    """Whether a member is a picture or video, by its name; None if it is hidden."""
    if any(part == "__MACOSX" or (part.startswith(".") and part != "..") for part in _parts(name)):
        return None
    return splitext(name)[1].lower() in _SUFFIXES


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


def no_pictures(archive: Path, others: int) -> MediaError:
    """The error for an archive in which only other files were found."""
    return MediaError(
        f"{archive}: no pictures or videos in this archive; looked for "
        f"{', '.join(sorted(_SUFFIXES))}, and found {others} other file{'s' * (others != 1)} "
        "(archives inside it are not searched)"
    )


def why(error: BaseException) -> str:
    """What an error says of itself, or else its name."""
    return str(getattr(error, "strerror", None) or error) or type(error).__name__
