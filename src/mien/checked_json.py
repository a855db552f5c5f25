"""JSON files of our own that know when they are damaged: the field `check` is the CRC-32 of all the others."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from mien.errors import MienError, OutputError
from mien.files import write_text

CHECK = "check"


def write_checked_json(path: Path, document: Mapping[str, Any], error: type[MienError] = OutputError) -> None:
    """Write a document whole, with its check; see `mien.files.replacing`."""
    write_text(path, json.dumps({**document, CHECK: _check(document)}, indent=2), error)


def read_checked_json(path: Path) -> dict[str, Any]:
    """The document in a file, without its check. One that has none was written before there were checks.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, or was changed by hand; says which.
    """
    found: object = json.loads(path.read_bytes())
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")
    document = cast("dict[str, Any]", found)
    check: object = document.pop(CHECK, None)
    if check is not None and check != _check(document):
        raise ValueError("it was damaged or changed after it was written")
    return document


def _check(document: Mapping[str, Any]) -> str:
    return f"{zlib.crc32(json.dumps(json.loads(json.dumps(document)), sort_keys=True).encode()):08x}"
