"""Files that are whole or not there: the one way in which mien writes a file."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from mien.errors import MienError, OutputError, reason
from mien.locks import Lock, lock, locked


@contextmanager
def replacing(path: Path, error: type[MienError] = OutputError) -> Generator[Path]:
    """Give a path to write to, and move what was written there onto `path` at the end of the with-block.

    If the block fails, what stood at `path` before is still there, and nothing else is left. The file reaches the disk
    before it is moved, so that a power cut leaves the old file or the new one. A device or pipe is written to directly.

    Args:
        path: in a folder that exists.
        error: what is raised where the system refuses.

    Raises:
        MienError: of the type `error`: the file cannot be written; says why.
    """
    try:
        if descriptor_of(path) is not None:
            with TemporaryDirectory() as folder:
                temporary = Path(folder) / "whole"
                yield temporary
                with open_stream(path) as stream, temporary.open("rb") as file:
                    shutil.copyfileobj(file, stream)
            return
        if _is_special(path):
            yield path
            return
        # Short, whatever the name: where a name may have 255 bytes, one of 250 must be possible.
        temporary = path.with_name(f".{secrets.token_hex(6)}.partial")
        try:
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
    except OSError as problem:
        raise error(f"{path}: cannot be written ({reason(problem)})") from problem


def real_path(path: Path) -> Path:
    """The path with links followed; unlike `Path.resolve`, a loop of links is no error before the file is opened."""
    return Path(os.path.realpath(path))


@contextmanager
def partial_folder(path: Path, error: type[MienError] = OutputError) -> Generator[Path]:
    """Give a new folder beside `path`, on the same disk, to fill and to move from; it is removed at the end.

    When the with-block succeeds, folders that killed processes have left for the same `path` are removed, too.

    Args:
        path: may be there or not.
        error: what is raised where the system refuses.

    Raises:
        MienError: of the type `error`: the folder cannot be made, or the block ended in an `OSError`.
    """
    with _partial_folder(path, error) as (begun, _):
        yield begun


@contextmanager
def _partial_folder(path: Path, error: type[MienError]) -> Generator[tuple[Path, Lock]]:
    """As `partial_folder`, with the lock that says it is in use; release it before a move."""
    begun = path.with_name(f".{path.name}.{secrets.token_hex(6)}.partial")
    make_folder(begun, error)
    try:
        held = lock(begun, error)
        try:
            yield begun, held
        finally:
            held.release()
        for left in path.parent.glob(f".{escape(path.name)}.*.partial"):
            with suppress(MienError), locked(left):  # else another process is filling it
                shutil.rmtree(left, ignore_errors=True)
    except OSError as problem:
        raise error(f"{problem.filename or path}: cannot be written ({reason(problem)})") from problem
    finally:
        shutil.rmtree(begun, ignore_errors=True)


@contextmanager
def creating_folder(path: Path, error: type[MienError] = OutputError) -> Generator[Path]:
    """Give a folder to fill, and move it to `path` at the end of the with-block: `path` is whole or not there.

    If another process has put a folder there meanwhile, that one stays: both were to make the same.

    Args:
        path: not there yet.
        error: what is raised where the system refuses.

    Raises:
        MienError: of the type `error`: the folder cannot be made or moved.
    """
    with _partial_folder(path, error) as (begun, held):
        yield begun
        held.release()
        try:
            begun.rename(path)
        except OSError:
            if not path.is_dir():
                raise


def is_stream(path: Path) -> bool:
    """Whether what is written there goes on to someone at once: /dev/stdout, a pipe, a device.

    Raises:
        OSError: the system takes no such name, or lets nobody look.
    """
    return descriptor_of(path) is not None or _is_special(path)


def descriptor_of(path: Path) -> int | None:
    """The number of the open file that a name such as /dev/stdout or /dev/fd/3 stands for; None for other names.

    To open such a name anew would write over the beginning of a file that standard output goes to.
    """
    names = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
    text = str(path)
    if os.name != "posix" or text in names:
        return names.get(text) if os.name == "posix" else None
    folder, _, number = text.rpartition("/")
    return int(number) if folder in ("/dev/fd", "/proc/self/fd") and number.isdecimal() else None


def open_stream(path: Path) -> BinaryIO:
    """Open what `is_stream` to write to it; what has been printed before comes first.

    Raises:
        OSError: it cannot be opened.
    """
    descriptor = descriptor_of(path)
    if descriptor is None:
        return path.open("wb")
    sys.stdout.flush()
    return os.fdopen(os.dup(descriptor), "wb")


def _is_special(path: Path) -> bool:
    """Whether a device, pipe or socket is there.

    Raises:
        OSError: the system takes no such name, or lets nobody look.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    except ValueError as problem:
        raise OSError(str(problem)) from problem
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def write_bytes(path: Path, data: bytes, error: type[MienError] = OutputError) -> None:
    """Write a whole file; see `replacing`."""
    with replacing(path, error) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str, error: type[MienError] = OutputError) -> None:
    """Write a whole file as UTF-8, with line ends as they are in `text`; see `replacing`."""
    with replacing(path, error) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def make_folder(folder: Path, error: type[MienError] = OutputError) -> None:
    """Make a folder, and those above it, where they are not there.

    Raises:
        MienError: of the type `error`: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as problem:  # ValueError: a name that no file system takes
        raise error(f"{folder}: this folder cannot be made ({reason(problem)})") from problem
