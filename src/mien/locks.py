"""One writer at a time: who writes a file or a folder holds its lock, and a second is told who that is.

The lock of `faces.csv` is `.faces.csv.lock` beside it, that of a folder is `.lock` in it. The system lets go of it when
its process ends, however that ends; the file is removed with the lock.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, cast

from mien.errors import MienError, OutputError, reason

if TYPE_CHECKING:
    from filelock import BaseFileLock


LOCK = ".lock"
"""Name of a folder's lock, in it."""


class Lock:
    """A lock that is held; made by `lock`."""

    def __init__(self, path: Path, held: BaseFileLock) -> None:
        self.path = path
        self._held = held

    def release(self) -> None:
        """Let go of it; doing so twice does nothing."""
        if not self._held.is_locked:
            return
        with suppress(OSError):
            self.path.unlink()  # while it is held: whoever opened this file meanwhile sees that it is gone, and retries
        with suppress(OSError):
            self._held.release()


def lock(target: Path, error: type[MienError] = OutputError) -> Lock:
    """Take the lock of a file that is to be written, or of a folder that is there.

    Raises:
        MienError: of the type `error`: another run holds it (says which), or the lock cannot be written.
    """
    from filelock import FileLock, Timeout  # late: who writes no file needs no locks

    path = target
    try:
        path = target / LOCK if target.is_dir() else target.with_name(f".{target.name}.lock")
        # Not thread-local, no singleton: two writers in one process exclude each other, too.
        held = FileLock(path, timeout=0, thread_local=False)
        _acquire(held, path)
    except (Timeout, RuntimeError):  # RuntimeError: this process holds it
        raise error(
            f"{target}: another run is writing it{_who(path)}; wait until that ends, or choose another name"
        ) from None
    except (OSError, ValueError) as problem:  # ValueError: a name that no file system takes
        raise error(f"{target}: cannot be written ({reason(problem)})") from problem
    since = f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
    about = {"process": os.getpid(), "host": socket.gethostname(), "since": since}
    with suppress(OSError):  # on a full disk it is a lock all the same
        path.write_text(json.dumps(about), encoding="utf-8")
    return Lock(path, held)


def _acquire(held: BaseFileLock, path: Path) -> None:
    from filelock import Timeout

    for _ in range(3):
        with suppress(Timeout):
            held.acquire()
            return
        if path.exists():
            raise Timeout(str(path))
    # Nobody holds what is not there: it cannot be made, or others come and go quickly.
    raise OSError("no lock can be made beside it")


@contextmanager
def locked(target: Path, error: type[MienError] = OutputError) -> Generator[None]:
    """Hold the lock of `target` in this with-block; see `lock`."""
    held = lock(target, error)
    try:
        yield
    finally:
        held.release()


def _who(path: Path) -> str:
    try:
        about: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    if not isinstance(about, dict):
        return ""
    said = {str(key): str(value)[:100] for key, value in cast("dict[object, object]", about).items()}
    return f" (process {said.get('process')} on {said.get('host')}, since {said.get('since')})"
