"""Where shards, rows and pictures lie: a folder, or a bucket of an object store, behind one small protocol.

An address is a folder's path, or `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Protocol

from mien.errors import MediaError, OutputError, StoreError

SCHEMES = ("s3", "gs", "az")
"""Object stores that are known, by the first part of their addresses."""


class BadAddress(StoreError):
    """An address behind which nothing can be: no address of a store, or no such bucket."""


class Store(Protocol):
    """Named pieces of bytes; names have `/` between their parts. What may pass is tried again before it is an error."""

    @property
    def address(self) -> str:
        """What a user calls it."""
        ...

    def read(self, name: str, max_bytes: int | None = None) -> bytes:
        """The bytes under this name.

        Args:
            name: of the piece.
            max_bytes: refuse more than this before any is read.

        Raises:
            FileNotFoundError: nothing has this name.
            MediaError: it is too large, or this one piece may not be read.
            StoreError: the store cannot be reached, or refuses every request.
        """
        ...

    def create(self, name: str, data: bytes) -> bool:
        """Write all of `data` under a name that is free; False, and nothing is changed, if it is taken.

        Raises:
            OutputError, StoreError: it cannot be written.
        """
        ...

    def names(self, folder: str) -> Iterator[str]:
        """Names of the pieces directly in a folder, without it; none if there is no such folder.

        Raises:
            StoreError: the store cannot be reached.
        """
        ...

    def delete(self, name: str) -> None:
        """Remove a piece, if it is there."""
        ...


class FolderStore:
    """A folder of this machine, or one that several machines share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def address(self) -> str:
        """The folder's path."""
        return str(self.folder)

    def read(self, name: str, max_bytes: int | None = None) -> bytes:
        """See `Store.read`."""
        path = self.folder / name
        try:
            if max_bytes is not None and (size := path.stat().st_size) > max_bytes:
                raise MediaError(too_large(str(path), size, max_bytes))
            return path.read_bytes()
        except FileNotFoundError:
            raise
        except (OSError, ValueError) as error:
            raise MediaError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error

    def create(self, name: str, data: bytes) -> bool:
        """See `Store.create`."""
        path = self.folder / name
        # A name of its own for each writer; a link onto a name that is taken fails, whoever comes second.
        temporary = path.with_name(f".{secrets.token_hex(6)}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(temporary, path)
            except FileExistsError:
                return False
            except OSError:  # a file system without links; two writers of one shard write the same rows
                if path.exists():
                    return False
                temporary.replace(path)
            return True
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise OutputError(f"{path}: cannot be written ({why}); free some space or choose another folder") from error
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def names(self, folder: str) -> Iterator[str]:
        """See `Store.names`."""
        try:
            with os.scandir(self.folder / folder) as entries:
                yield from (entry.name for entry in entries if not entry.name.startswith("."))
        except (FileNotFoundError, NotADirectoryError):
            return

    def delete(self, name: str) -> None:
        """See `Store.delete`."""
        path = self.folder / name
        with suppress(OSError):
            path.unlink()
            path.parent.rmdir()  # no empty folders are left


def is_url(address: str) -> bool:
    """Whether an address is one of an object store that is known."""
    return address.split("://")[0] in SCHEMES and "://" in address


def split_url(url: str) -> tuple[str, str]:
    """`s3://bucket/a/b.jpg` -> (`s3://bucket`, `a/b.jpg`)."""
    scheme, rest = url.split("://", 1)
    bucket, _, key = rest.partition("/")
    return f"{scheme}://{bucket}", key


@cache
def open_store(address: str) -> Store:
    """The store at an address; the same one for the same address in a process. Nothing is asked of it yet.

    Raises:
        StoreError: the package for object stores is not installed, or the address cannot be one.
    """
    if is_url(address):
        from mien.distributed.object_store import ObjectStore

        return ObjectStore(address)
    if "://" in address:
        expected = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        raise OutputError(f"{address}: expected a folder, or an address with {expected}")
    return FolderStore(Path(address))


def too_large(what: str, size: int, limit: int) -> str:
    """Says that a piece is larger than what is read."""
    return f"{what}: {size:,} bytes are more than the limit of {limit:,} for one picture; it was not read"
