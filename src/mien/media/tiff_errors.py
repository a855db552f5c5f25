"""What libtiff finds wrong while Pillow decodes a TIFF: it would print that on stderr, and go on with wrong pixels."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from typing import Any

_Handler = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
_found = threading.local()


@contextmanager
def strict_tiff() -> Generator[None]:
    """Decode TIFFs inside: an error that libtiff reports in this thread is raised, and none reaches stderr.

    Where libtiff cannot be asked, as with Pillow for Windows, which has it built in, it does what it always did.

    Raises:
        OSError: libtiff reported an error, and Pillow passed over it.
    """
    _listen()
    _found.first = ""
    yield
    if _found.first:
        raise OSError(f"{_found.first} found data that it cannot decode")


@cache
def _listen() -> None:
    """Have libtiff tell us, once in a process."""
    from PIL import _imaging

    try:
        # To look a name up in an extension module looks in the libraries that it needs, too.
        libtiff: Any = ctypes.CDLL(_imaging.__file__)
        libtiff.TIFFSetWarningHandler.argtypes = [ctypes.c_void_p]
        libtiff.TIFFSetErrorHandler.argtypes = [_Handler]
        libtiff.TIFFSetWarningHandler(None)
        libtiff.TIFFSetErrorHandler(_note)
    except (OSError, AttributeError, TypeError):
        pass


def _take(module: bytes | None, _words: bytes | None, _values: object) -> None:
    # libtiff calls this in the thread that decodes.
    if not getattr(_found, "first", ""):
        _found.first = (module or b"libtiff").decode("latin-1")


_note = _Handler(_take)
"""Kept here, for libtiff keeps only its address."""
