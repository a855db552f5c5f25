"""Weights outside the file: where an ONNX model says that tensors lie elsewhere.

A model's weights may be files beside it, named in its tensors (field 13 of `TensorProto`, onnx.proto3 in
github.com/onnx/onnx). No hash of ours would cover them, and ONNX Runtime looks for them in the working folder: such a
model is refused.
"""

from __future__ import annotations

from collections.abc import Iterator

from mien.errors import BundleError
from mien.model.onnxfile import fields_of

_MESSAGES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "function": {7: "node"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
"""Message -> number of a field -> the message in it, as far as tensors can lie below."""

_EXTERNAL, _LOCATION = 13, 14

MAX_DEPTH = 64
"""Graphs in graphs deeper than this are no model of faces."""


def refuse_external_data(model: bytes, source: str) -> None:
    """Refuse a model with weights in other files.

    Raises:
        BundleError: it has some; they are named.
    """
    names = sorted(set(_external(memoryview(model), "model", source, 0)))
    if names:
        raise BundleError(
            f"{source}: its weights lie in another file ({', '.join(names[:3])}), which no hash covers; put them into "
            "the model: onnx.save(onnx.load('model.onnx'), 'whole.onnx'), and keep the manifest beside it"
        )


def _external(data: memoryview, message: str, source: str, depth: int) -> Iterator[str]:
    if depth > MAX_DEPTH:
        raise BundleError(f"{source}: its graphs are nested more than {MAX_DEPTH} deep; expected a plain model")
    inner = _MESSAGES.get(message, {})
    outside, place = False, "a file without a name"
    for number, _, start, end in fields_of(data, source):
        if message == "tensor":
            if number == _EXTERNAL:
                outside, place = True, _value(data[start:end], source) or place
            elif number == _LOCATION:
                outside = outside or (end > start and data[start] == 1)
        elif number in inner:
            yield from _external(data[start:end], inner[number], source, depth + 1)
    if outside:
        yield repr(place)


def _value(entry: memoryview, source: str) -> str:
    """The value of a `location` entry; "" of any other."""
    parts = {number: bytes(entry[start:end]) for number, _, start, end in fields_of(entry, source)}
    return parts.get(2, b"").decode("utf-8", "replace")[:80] if parts.get(1) == b"location" else ""
