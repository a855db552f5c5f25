"""What the user names -> files -> frames. A wrong name is an error at once; a bad file is a `Failure` among frames."""

from __future__ import annotations

import glob
import os
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from mien.errors import MediaError, reason
from mien.media import stream_address as addresses
from mien.media.archive import is_archive, list_archive, member_bytes, read_member
from mien.media.archive_members import Member
from mien.media.folder_walk import counted, find_media, kind_by_name_or_content
from mien.media.formats import IMAGE_SUFFIXES, VIDEO_SUFFIXES, kind_of_file
from mien.media.image import Reduction, decode, read_bytes, read_image
from mien.media.limits import USUAL, Limits
from mien.media.stream_reader import read_live
from mien.media.video import WHOLE, Clip, read_video
from mien.records import Failure, Frame

MEDIA_SUFFIXES = IMAGE_SUFFIXES | VIDEO_SUFFIXES
"""What is taken by its name. A file with another suffix, or none, is taken by its first bytes."""

Note = Callable[[str], None]
"""Takes a sentence for the user."""

STDIN = "-"
"""The source that means the bytes of one picture on standard input (a file of that name is `./-`)."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to decode.

    `source` is what its frames, and any failure, are called. `path` is None for standard input and for what is live;
    `address` is then the camera's or stream's, with its password. `problem` is set where a folder inside a source, or
    an archive, could not be searched to its end. Such an item has nothing to decode, and is not passed over in silence.
    `member` says which file of an archive is meant; one without a name means all of a compressed tar, whose frames have
    their own sources. `video` is set for a file that is a video by its first bytes, where its name does not say. Items
    can be sent to other processes.
    """

    source: str
    path: Path | None
    problem: str | None = None
    member: Member | None = None
    address: str | None = field(default=None, repr=False)
    video: bool = False

    @property
    def is_live(self) -> bool:
        """Whether it is a camera or network stream."""
        return self.address is not None

    @property
    def is_video(self) -> bool:
        """Whether it has moving pictures, by its name, or by its first bytes where the name does not say."""
        named = self.path is not None and Path(self.source).suffix.lower() in VIDEO_SUFFIXES
        return self.is_live or self.video or named

    @property
    def stem(self) -> str:
        """A file's name, without suffix, for what is made of it."""
        if self.is_live:
            return addresses.stem(self.source)
        return Path(self.source).stem if self.path else "stdin"

    @property
    def is_picture(self) -> bool:
        """Whether it is one file with one picture: no video, whole archive or standard input."""
        if self.path is None or (self.member is not None and not self.member.name):
            return False
        return not self.is_video


def open_sources(
    sources: Sequence[str | os.PathLike[str]], *, limits: Limits = USUAL, clip: Clip = WHOLE
) -> Iterator[Frame | Failure]:
    """Every frame of every source, in order; a file that cannot be read is a `Failure`, and the rest go on.

    The sources are looked up when this is called, not when the first frame is asked for.

    Args:
        sources: see `list_items`.
        limits: what is refused as too large, and whether truncated pictures are taken.
        clip: which frames of videos are wanted.

    Raises:
        MediaError: see `list_items`.
    """
    items = list_items(sources)
    return chain.from_iterable(read_item(item, limits=limits, clip=clip) for item in items)


def list_items(sources: Sequence[str | os.PathLike[str]], note: Note = lambda text: None) -> list[Item]:
    """The files behind `sources`, before any is decoded.

    A source is, tried in this order:

    - "-": the bytes of one picture on standard input;
    - `camera:0`, `camera:/dev/video2`: a camera; `rtsp://`, `rtsps://`, `rtmp://`, `rtmps://`, `http://`, `https://`: a
      video stream (see `mien.media.stream_reader`). Whether they are there is found out when they are read;
    - an archive (zip, tar, compressed tar): the pictures and videos in it, see `mien.media.archive`;
    - any other file, whatever its name's suffix;
    - a folder: every picture and video below it, by name or first bytes, sorted (see `mien.media.folder_walk`);
    - a pattern with `*`, `?` or `[...]`, and `**` for any depth: the pictures and videos that match, and every file
      with the suffix that the pattern spells out, sorted; archives only if their suffix is spelled out.

    A file is listed each time it is named itself. What an archive, folder or pattern holds is left out where it is
    listed already. So is a named file that an earlier folder or pattern has found.

    Args:
        sources: see above; paths are welcome.
        note: called with a sentence for each folder or pattern of which files were passed over, counted by suffix.

    Raises:
        MediaError: a source that does not exist, an address that cannot be one, a pattern that matches nothing, a
            folder or archive without pictures; an archive that cannot be opened; "-" twice.
    """
    if isinstance(sources, (str, os.PathLike)):
        raise MediaError(f"expected a list of sources, found {sources!r} alone; put it into a list")
    if (times := sum(source == STDIN for source in sources)) > 1:
        raise MediaError(f"{STDIN!r} is named {times} times; standard input can be read once")
    items: list[Item] = []
    named: set[str] = set()
    searched: set[str] = set()
    for source in sources:
        found, by_name = _expand(os.fspath(source), note)
        for item in found:
            key = os.path.abspath(item.path) if item.path else item.address or item.source  # noqa: PTH100 - resolve() follows links
            key += f"\0{item.member.name}" if item.member else ""
            if key in searched or (key in named and not by_name):
                continue
            (named if by_name else searched).add(key)
            items.append(item)
    return items


def read_item(
    item: Item, *, limits: Limits = USUAL, clip: Clip = WHOLE, reduction: Reduction | None = None
) -> Iterator[Frame | Failure]:
    """The frames of one item, and after them one `Failure` if it could not be read to its end.

    The failure's frame index is the number of frames that came before it.

    Args:
        item: what to read.
        max_pixels: see `mien.media.image.decode`.
        clip: which frames of a video are wanted.
        reduction: how much pictures may be shrunk while they are decoded; see `mien.media.image.decode`.
    """
    if item.problem is not None:
        yield Failure(item.source, 0, item.problem)
        return
    index = 0
    try:
        for result in _read(item, limits, clip, reduction):
            yield result
            index += isinstance(result, Frame)
    except MediaError as error:
        yield Failure(item.source, index, str(error))


def item_bytes(item: Item) -> bytes | None:
    """What the file behind an item holds; None where that is not one picture, or it cannot be read."""
    if item.path is None or item.problem or not item.is_picture:
        return None
    try:
        if item.member:
            return member_bytes(item.path, item.member)
        return read_bytes(item.path) if item.path.is_file() else None  # a pipe is read once
    except (OSError, MediaError):
        return None  # whoever decodes it says why


def _read(item: Item, limits: Limits, clip: Clip, reduction: Reduction | None) -> Iterator[Frame | Failure]:
    if item.address is not None:
        return read_live(item.address, clip, limits.max_pixels)
    if item.path is None:
        return decode(_read_stdin(limits.max_bytes), STDIN, limits, reduction)
    if item.member is not None:
        return read_member(item.path, item.member, limits, clip, reduction)
    if item.is_video:
        return read_video(str(item.path), clip, limits.max_pixels)
    return read_image(item.path, limits, reduction)


def _expand(source: str, note: Note) -> tuple[list[Item], bool]:
    """The items behind one source, and whether it names a single thing itself."""
    if source == STDIN:
        if sys.stdin.isatty():
            raise MediaError(f"{STDIN}: expected a picture's bytes on standard input, found a terminal; pipe one in")
        return [Item(STDIN, None)], True
    if not source:
        raise MediaError("a source is empty; expected a file, a folder, a pattern or '-'")
    if addresses.is_live(source):
        addresses.check_address(source)
        return [Item(addresses.shown(source), None, address=source)], True
    path = Path(source)
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        if any(mark in source for mark in "*?[") and "://" not in source:
            return _match(source, note), False
        if isinstance(error, (FileNotFoundError, NotADirectoryError)):
            expected = "a picture, a video, a folder or a pattern"
            if "://" in source:
                expected = f"a file, or a stream with one of {', '.join(addresses.SCHEMES)}"
            raise MediaError(f"{addresses.shown(source)}: no such file or folder; expected {expected}") from None
        raise MediaError(f"{source}: cannot be read ({reason(error)})") from error
    if stat.S_ISDIR(mode):
        return _search(path, note), False
    if stat.S_ISREG(mode) and is_archive(path):
        return _members(path, note), False
    return [_file(path, stat.S_ISREG(mode))], True


def _file(path: Path, regular: bool = True) -> Item:
    known = path.suffix.lower() in MEDIA_SUFFIXES
    return Item(str(path), path, video=not known and regular and kind_of_file(path) == "video")


def _members(path: Path, note: Note) -> list[Item]:
    return [
        Item(member.source(path), path, member.problem, member, video=member.video)
        for member in list_archive(path, note)
    ]


def _search(folder: Path, note: Note) -> list[Item]:
    found = find_media(folder)
    for where, problem in found.problems:
        if where == folder:
            raise MediaError(problem)
    if not found.pictures and not found.videos and not found.problems:
        held = found.counted() if found.passed_over else "nothing"
        raise MediaError(
            f"{folder}: no pictures or videos in this folder or below it, by name or first bytes; found {held}"
        )
    if found.passed_over:
        note(f"{folder}: passed over {found.counted()}")
    videos = [Item(str(path), path, video=True) for path in found.videos]
    files = sorted([*(Item(str(path), path) for path in found.pictures), *videos], key=_place)
    return files + [Item(str(where), where, problem) for where, problem in found.problems]


def _place(item: Item) -> Path:
    assert item.path
    return item.path


def _match(pattern: str, note: Note) -> list[Item]:
    # Path.glob takes no absolute pattern.
    try:
        matched = [Path(name) for name in glob.glob(pattern, recursive=True)]  # noqa: PTH207
    except ValueError as error:  # characters that no file system takes
        raise MediaError(f"{pattern!r}: not a pattern that can match a file ({error})") from error
    files = [path for path in matched if path.is_file() or path.is_symlink()]
    spelled_out = Path(pattern).suffix.lower()
    pictures: list[Path] = []
    passed_over: Counter[str] = Counter()
    for path in sorted(set(files)):
        if (spelled_out and path.suffix.lower() == spelled_out) or kind_by_name_or_content(path):
            pictures.append(path)
        else:
            passed_over[path.suffix.lower() or "no suffix"] += 1
    if not pictures:
        held = counted(passed_over) if passed_over else "no file"
        raise MediaError(
            f"{pattern}: no picture or video matches this, by name or first bytes; found {held} and "
            f"{len(matched) - len(files)} folders"
        )
    if passed_over:
        note(f"{pattern}: passed over {counted(passed_over)}")
    return [item for path in pictures for item in _matched(path, note)]


def _matched(path: Path, note: Note) -> list[Item]:
    if not (is_archive(path) and path.is_file()):
        return [_file(path, path.is_file())]
    try:
        return _members(path, note)
    except MediaError as error:  # as with any file of a pattern, the rest go on
        return [Item(str(path), path, str(error))]


def _read_stdin(max_bytes: int) -> bytes:
    try:
        data = sys.stdin.buffer.read(max_bytes + 1)
    except OSError as error:
        raise MediaError(f"{STDIN}: standard input cannot be read ({reason(error)})") from error
    if len(data) > max_bytes:
        raise MediaError(f"{STDIN}: more than the limit of {max_bytes:,} bytes; shrink it or raise the limit")
    return data
