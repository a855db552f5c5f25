"""JSON that is told from damaged JSON: names that stand twice, and in files of our own a CRC-32 of all fields."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from mien.errors import MienError, OutputError
from mien.files import write_text

CHECK = "check"


def strict_json(text: str | bytes) -> object:
    """What a stranger's JSON says.

    Raises:
        ValueError: it is no JSON, is nested too deeply, or an object names one thing twice, of which Python's parser
            would drop the first without a word.
    """
    try:
        return json.loads(text, object_pairs_hook=_named_once)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _named_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)[:60]!r} stands there twice")
    return found


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
