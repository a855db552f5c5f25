"""The one walk through folders: which files are pictures or videos, and how many others were passed over.

A name's suffix decides where it is known. Otherwise the first bytes do. Hidden files and folders are skipped, links to
folders are not followed, and only regular files are opened: a pipe or device may never end.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mien.errors import reason
from mien.media.formats import IMAGE_SUFFIXES, OTHER_SUFFIXES, VIDEO_SUFFIXES, kind_of_file

NAMED = 8
"""At most this many suffixes are named in a count."""


@dataclass(slots=True)
class FoundMedia:
    """What a folder holds.

    Attributes:
        pictures, videos: sorted.
        problems: folders that could not be searched, each with the reason.
        passed_over: suffix (lower-case; "no suffix" for none) -> how many files of it are neither.
    """

    pictures: list[Path] = field(default_factory=list[Path])
    videos: list[Path] = field(default_factory=list[Path])
    problems: list[tuple[Path, str]] = field(default_factory=list[tuple[Path, str]])
    passed_over: Counter[str] = field(default_factory=Counter[str])

    def counted(self) -> str:
        """The files passed over, for people: "3 other files (.txt 2, .xmp 1)"."""
        return counted(self.passed_over)


def find_media(folder: Path, *, videos: bool = True) -> FoundMedia:
    """The pictures and videos in a folder and below it.

    Args:
        folder: where to look.
        videos: False: a video is a file to pass over.
    """
    found = FoundMedia()

    def note(error: OSError) -> None:
        where = Path(str(error.filename))
        found.problems.append((where, f"{where}: this folder cannot be searched ({reason(error)})"))

    for path in walk_folder(folder, note):
        kind = kind_by_name_or_content(path)
        if kind == "picture":
            found.pictures.append(path)
        elif kind == "video" and videos:
            found.videos.append(path)
        else:
            found.passed_over[path.suffix.lower() or "no suffix"] += 1
    found.pictures.sort()
    found.videos.sort()
    return found


def kind_by_name_or_content(path: Path) -> str | None:
    """ "picture", "video", or None for a file that is neither, or is no regular file.

    A link that leads nowhere counts as what its name says, so that it is reported.
    """
    regular = path.is_file()
    if not regular and not path.is_symlink():
        return None
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return "picture"
    if suffix in VIDEO_SUFFIXES:
        return "video"
    return kind_of_file(path) if regular and suffix not in OTHER_SUFFIXES else None


def counted(passed_over: Mapping[str, int]) -> str:
    """Counts by suffix for people: "3 other files (.txt 2, .xmp 1)"."""
    total = sum(passed_over.values())
    ranked = sorted(passed_over.items(), key=lambda pair: (-pair[1], pair[0]))
    named = [f"{suffix} {count}" for suffix, count in ranked[:NAMED]]
    named += ["..."] if len(ranked) > NAMED else []
    return f"{total} other file{'s' * (total != 1)} ({', '.join(named)})"


def walk_folder(folder: Path, on_error: Callable[[OSError], None]) -> Iterator[Path]:
    """Every file below `folder` that is not hidden."""
    for parent, folders, files in os.walk(folder, onerror=on_error):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith("."):
                yield Path(parent, name)
