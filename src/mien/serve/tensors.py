"""Tensors of the Open Inference Protocol: in JSON, or as raw bytes behind it (the binary tensor data extension)."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from mien.serve.bodies import parse_json
from mien.serve.problems import RequestProblem

HEADER_LENGTH = "inference-header-content-length"
"""How many bytes of the body are JSON; the tensors follow."""

DTYPES: dict[str, np.dtype[Any]] = {
    "UINT8": np.dtype("u1"),
    "FP32": np.dtype("<f4"),
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named tensor. `values` is an array, or for BYTES a list of byte strings."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: NDArray[Any] | list[bytes]


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A request of the protocol.

    Attributes:
        id: of the client's; "" for none.
        inputs: by name.
        outputs: wanted name -> whether as binary data; empty: all, as `binary` says.
        binary: whether outputs that are not named are to be binary.
        parameters: of the request; what is not the protocol's is the model's.
    """

    id: str
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, bool]
    binary: bool
    parameters: Mapping[str, object]


def parse_infer(body: bytes, header_length: str | None) -> InferRequest:
    """Read the body of an infer request.

    Raises:
        RequestProblem: 400, it breaks the protocol; says where.
    """
    size = len(body)
    if header_length is not None:
        if not (header_length.isascii() and header_length.isdigit() and int(header_length) <= size):
            raise _bad(f"{HEADER_LENGTH}: expected a number up to {size}, found {header_length[:20]!r}")
        size = int(header_length)
    parsed = parse_json(body[:size])
    if not isinstance(parsed, dict):
        raise _bad("the request is not a JSON object")
    document = cast(dict[str, Any], parsed)
    rest = memoryview(body)[size:]
    inputs: dict[str, Tensor] = {}
    for entry in _objects(document, "inputs"):
        tensor, rest = _tensor(entry, rest)
        if tensor.name in inputs:
            raise _bad(f"input {tensor.name!r} comes twice")
        inputs[tensor.name] = tensor
    if len(rest):
        raise _bad(f"{len(rest)} bytes follow the last tensor")
    outputs = {
        _text(entry, "name"): bool(_parameters(entry).get("binary_data", False))
        for entry in (_objects(document, "outputs") if document.get("outputs") is not None else [])
    }
    request_id = document.get("id", "")
    if not isinstance(request_id, str):
        raise _bad("id: expected text")
    parameters = _parameters(document)
    return InferRequest(request_id, inputs, outputs, bool(parameters.get("binary_data_output", False)), parameters)


def answer_infer(
    request: InferRequest, model: str, version: str, tensors: Sequence[Tensor], about: Mapping[str, str | None]
) -> tuple[bytes, dict[str, str]]:
    """The body and the headers of an infer response, with the outputs that are wanted as they are wanted.

    `about` says how the model was asked, as the response's parameters.

    Raises:
        RequestProblem: 400, an output that there is not.
    """
    known = {tensor.name: tensor for tensor in tensors}
    for name in request.outputs:
        if name not in known:
            raise _bad(f"no output {name[:64]!r}; there is {', '.join(known)}")
    wanted = request.outputs or dict.fromkeys(known, request.binary)
    entries: list[dict[str, object]] = []
    tail: list[bytes] = []
    for name, binary in wanted.items():
        tensor = known[name]
        entry: dict[str, object] = {"name": name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
        if binary or request.binary:
            raw = _raw(tensor)
            entry["parameters"] = {"binary_data_size": len(raw)}
            tail.append(raw)
        elif isinstance(tensor.values, list):
            entry["data"] = [value.decode("utf-8", "replace") for value in tensor.values]
        else:
            entry["data"] = tensor.values.ravel().tolist()
        entries.append(entry)
    parameters = {name: value for name, value in about.items() if value is not None}
    document: dict[str, object] = {"model_name": model, "model_version": version, "outputs": entries}
    document |= {"parameters": parameters} if parameters else {}
    head = json.dumps(document | ({"id": request.id} if request.id else {})).encode()
    if not tail:
        return head, {"content-type": "application/json"}
    headers = {"content-type": "application/octet-stream", HEADER_LENGTH: str(len(head))}
    return b"".join([head, *tail]), headers


def _tensor(entry: dict[str, Any], rest: memoryview) -> tuple[Tensor, memoryview]:
    name, datatype = _text(entry, "name"), _text(entry, "datatype")
    if datatype != "BYTES" and datatype not in DTYPES:
        raise _bad(f"input {name[:64]!r}: datatype {datatype[:20]!r} is not read; there is BYTES, {', '.join(DTYPES)}")
    shape = _shape(entry, name)
    count = 1
    for length in shape:
        count *= length
    size = _parameters(entry).get("binary_data_size")
    if size is None:
        return Tensor(name, datatype, shape, _from_json(entry.get("data"), datatype, shape, count, name)), rest
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(rest):
        raise _bad(f"input {name!r}: binary_data_size {str(size)[:20]} does not fit the {len(rest)} bytes that follow")
    if "data" in entry:
        raise _bad(f"input {name!r}: data and binary_data_size exclude each other")
    return Tensor(name, datatype, shape, _from_raw(rest[:size], datatype, shape, count, name)), rest[size:]


def _from_json(
    data: object, datatype: str, shape: tuple[int, ...], count: int, name: str
) -> NDArray[Any] | list[bytes]:
    if not isinstance(data, list):
        raise _bad(f"input {name!r}: expected data, or binary_data_size and bytes behind the JSON")
    if datatype == "BYTES":
        texts = cast(list[object], data)
        if len(texts) != count or not all(isinstance(text, str) for text in texts):
            raise _bad(f"input {name!r}: expected {count} texts")
        return [_base64(str(text), name) for text in texts]
    try:
        # Through int64 or float64, so that 300 and 0.5 are refused as uint8, not wrapped.
        wide = np.asarray(cast(object, data), np.float64)
        values = wide.astype(DTYPES[datatype])
    except (ValueError, TypeError, OverflowError):
        raise _bad(f"input {name!r}: data holds something else than numbers") from None
    if values.size != count:
        raise _bad(f"input {name!r}: {values.size} values for the shape {list(shape)}")
    if datatype == "UINT8" and not np.array_equal(values, wide):
        raise _bad(f"input {name!r}: UINT8 holds whole numbers from 0 to 255")
    return values.reshape(shape)


def _from_raw(
    data: memoryview, datatype: str, shape: tuple[int, ...], count: int, name: str
) -> NDArray[Any] | list[bytes]:
    if datatype != "BYTES":
        if len(data) != count * DTYPES[datatype].itemsize:
            raise _bad(f"input {name!r}: {len(data)} bytes for the shape {list(shape)} of {datatype}")
        return np.frombuffer(data, DTYPES[datatype]).reshape(shape)
    values: list[bytes] = []
    position = 0
    while position < len(data):  # each element: its length in 4 bytes, little-endian, then itself
        if position + 4 > len(data):
            raise _bad(f"input {name!r}: an element's length is cut off")
        (length,) = struct.unpack_from("<I", data, position)
        position += 4
        if position + length > len(data):
            raise _bad(f"input {name!r}: an element of {length} bytes is cut off")
        values.append(bytes(data[position : position + length]))
        position += length
    if len(values) != count:
        raise _bad(f"input {name!r}: {len(values)} elements for the shape {list(shape)}")
    return values


def _raw(tensor: Tensor) -> bytes:
    if isinstance(tensor.values, list):
        return b"".join(struct.pack("<I", len(value)) + value for value in tensor.values)
    return tensor.values.astype(DTYPES[tensor.datatype], copy=False).tobytes()


def _shape(entry: dict[str, Any], name: str) -> tuple[int, ...]:
    found: object = entry.get("shape")
    lengths = cast(list[object], found) if isinstance(found, list) else [None]
    if not all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n <= 2**31 for n in lengths) or len(lengths) > 8:
        shown = repr(cast(object, found))[:60]
        raise _bad(f"input {name[:64]!r}: shape: expected up to 8 whole numbers, found {shown}")
    return tuple(cast(list[int], lengths))


def _objects(document: dict[str, Any], key: str) -> list[dict[str, Any]]:
    found = document.get(key)
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in cast(list[object], found)):
        raise _bad(f"{key}: expected a list of objects")
    return cast(list[dict[str, Any]], found)


def _parameters(entry: dict[str, Any]) -> dict[str, Any]:
    found = entry.get("parameters")
    return cast(dict[str, Any], found) if isinstance(found, dict) else {}


def _text(entry: dict[str, Any], key: str) -> str:
    found = entry.get(key)
    if not isinstance(found, str) or not found:
        raise _bad(f"{key}: expected text")
    return found


def _base64(text: str, name: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise _bad(f"input {name!r}: in JSON, BYTES are base64; better: send them as binary data") from None


def _bad(message: str) -> RequestProblem:
    return RequestProblem(400, message)
