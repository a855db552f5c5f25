"""The few bytes of an ONNX file that mien must read and write itself: its metadata and its graph's extent.

An ONNX file is one protobuf message, `ModelProto`; field 7 is the graph and field 14 a metadata entry (key = 1, value =
2) (onnx.proto3 in github.com/onnx/onnx). Walking the top-level fields is all that is needed, so the runtime does
without the `onnx` package.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

from mien.errors import BundleError, BundleMismatch

GRAPH_FIELD = 7
METADATA_FIELD = 14

SEAL_KEY = "mien.sha256"
"""Metadata key of the seal: the sha256 of the file without this entry. Any later change shows."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def metadata(data: bytes, source: str) -> dict[str, str]:
    """The metadata entries of an ONNX file.

    Raises:
        BundleError: the bytes are not an ONNX file.
    """
    entries = [
        _entry(data[start:end], source)
        for number, _, start, end in _model_fields(data, source)
        if number == METADATA_FIELD
    ]
    return dict(entries)


def graph_sha256(data: bytes, source: str) -> str:
    """sha256 of the graph alone, weights included and metadata not: it names the weights for good."""
    digest = hashlib.sha256()
    for number, _, start, end in _model_fields(data, source):
        if number == GRAPH_FIELD:
            digest.update(data[start:end])
    return digest.hexdigest()


def sha256_without(data: bytes, key: str, source: str) -> str:
    """sha256 of the whole file but for the metadata entry `key`."""
    return hashlib.sha256(without(data, {key}, source)).hexdigest()


def with_seal(data: bytes, source: str) -> bytes:
    """The file, sealed as it now is."""
    bare = without(data, {SEAL_KEY}, source)
    return with_metadata(bare, {SEAL_KEY: hashlib.sha256(bare).hexdigest()}, source)


def check_seal(data: bytes, source: str) -> bool:
    """Whether the file carries a seal.

    Raises:
        BundleError: the bytes are not an ONNX file.
        BundleMismatch: the file was altered after it was sealed.
    """
    expected = metadata(data, source).get(SEAL_KEY)
    if expected is None:
        return False
    found = sha256_without(data, SEAL_KEY, source)
    if expected != found:
        raise BundleMismatch(
            f"{source}: the file was altered after it was made: expected sha256 {expected[:64]}, found {found}; take a "
            "fresh copy, or make it again"
        )
    if with_seal(data, source) != data:  # bytes of the seal's own entry, which no hash covers
        raise BundleMismatch(f"{source}: its seal was altered after it was made; take a fresh copy, or make it again")
    return True


def without(data: bytes, keys: set[str], source: str) -> bytes:
    """The file without the metadata entries named in `keys`."""
    kept = [
        data[field_start:end]
        for number, field_start, start, end in _model_fields(data, source)
        if not (number == METADATA_FIELD and _entry(data[start:end], source)[0] in keys)
    ]
    return b"".join(kept)


def with_metadata(data: bytes, entries: Mapping[str, str], source: str) -> bytes:
    """The file with `entries` set (replacing entries of those names)."""
    added = (
        _field(METADATA_FIELD, _field(1, key.encode()) + _field(2, value.encode())) for key, value in entries.items()
    )
    return without(data, set(entries), source) + b"".join(added)


def _model_fields(data: bytes, source: str) -> list[tuple[int, int, int, int]]:
    fields = list(fields_of(data, source))
    if not any(number == GRAPH_FIELD for number, *_ in fields):
        raise BundleError(
            f"{source}: not an ONNX model (no graph in it); expected a .onnx file, such as `mien export` writes"
        )
    return fields


def fields_of(data: bytes | memoryview, source: str) -> Iterator[tuple[int, int, int, int]]:
    """(field number, start of the field, start of its payload, end) of every field of one protobuf message."""
    position = 0
    while position < len(data):
        start = position
        tag, position = _varint(data, position, source)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            _, end = _varint(data, position, source)
        elif kind == _BYTES:
            length, position = _varint(data, position, source)
            end = position + length
        elif kind in (_FIXED32, _FIXED64):
            end = position + (4 if kind == _FIXED32 else 8)
        else:
            raise _damaged(source, start)
        if end > len(data) or number == 0:
            raise _damaged(source, start)
        yield number, start, position, end
        position = end


def _varint(data: bytes | memoryview, position: int, source: str) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise _damaged(source, position)


def _entry(payload: bytes, source: str) -> tuple[str, str]:
    parts = {number: payload[start:end] for number, _, start, end in fields_of(payload, source)}
    try:
        return parts.get(1, b"").decode(), parts.get(2, b"").decode()
    except UnicodeDecodeError as error:
        raise BundleError(f"{source}: a metadata entry is not UTF-8; the file is damaged") from error


def _field(number: int, payload: bytes) -> bytes:
    return _write_varint(number << 3 | _BYTES) + _write_varint(len(payload)) + payload


def _write_varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _damaged(source: str, position: int) -> BundleError:
    return BundleError(
        f"{source}: not an ONNX model, or cut short (unreadable at byte {position:,}); expected a .onnx file"
    )
