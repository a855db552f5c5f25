"""Content-addressed files: each bundle lies under its sha256, is written once, and is checked on every read."""

from __future__ import annotations

import hashlib
from pathlib import Path

from mien.errors import RegistryError, reason
from mien.files import make_folder, write_bytes


class FileStore:
    """Bundles in a folder, `ab/abcd....onnx`. Several processes may write at once: a name fixes the content."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, sha256: str) -> Path:
        """Where the file with this hash lies; it need not exist."""
        return self.folder / sha256[:2] / f"{sha256}.onnx"

    def add(self, data: bytes) -> str:
        """Store the bytes, whole or not at all; return their sha256.

        Raises:
            RegistryError: the folder cannot be written to, or the disk is full; nothing is left behind.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        target = self.path(sha256)
        if target.exists() and _sha256_of(target) == sha256:
            return sha256
        try:
            make_folder(target.parent, RegistryError)
            write_bytes(target, data, RegistryError)
        except RegistryError as error:
            raise RegistryError(
                f"{self.folder}: the bundle ({len(data):,} bytes) cannot be stored: {error}; nothing was registered"
            ) from error
        return sha256

    def read(self, sha256: str) -> bytes:
        """The bytes with this hash.

        Raises:
            RegistryError: the file is missing, unreadable, or was altered.
        """
        path = self.path(sha256)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise RegistryError(
                f"{path}: the registry knows this bundle, and its file is gone; add the bundle again, or restore the "
                "folder from a backup"
            ) from None
        except OSError as error:
            raise RegistryError(f"{path}: cannot be read ({reason(error)})") from error
        if (found := hashlib.sha256(data).hexdigest()) != sha256:
            raise RegistryError(
                f"{path}: the file was altered: expected sha256 {sha256}, found {found}; add the bundle again, or "
                "restore the file from a backup"
            )
        return data


def _sha256_of(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
