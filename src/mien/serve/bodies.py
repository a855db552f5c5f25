"""The body of a request -> pictures. Bounded in bytes, time and number; nothing touches a disk."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncGenerator
from typing import Any, cast

import anyio
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from mien.checked_json import strict_json
from mien.serve.admission import AdmissionGate, Ticket
from mien.serve.options import MAX_PICTURES, ServeOptions
from mien.serve.problems import ClientGone, RequestProblem
from mien.serve.reader import Picture

RAW_TYPES = ("image/", "application/octet-stream")
NAME_LENGTH = 200
"""Longer names of pictures are cut."""

HOW = (
    "send one picture as the body (Content-Type: image/jpeg), several as multipart/form-data in fields called "
    '`picture`, or JSON {"pictures": [base64 or data URL]}'
)


async def read_body(
    request: Request, options: ServeOptions, gate: AdmissionGate, ticket: Ticket, limit: int = 0
) -> bytes:
    """The whole body; room for it is asked for by its declared length before any of it is read.

    Raises:
        RequestProblem: 400, 408 or 413: a length that is none, too slow, too large.
        Overloaded: no room.
        ClientGone: cut off.
    """
    limit = limit or options.max_body
    declared = _declared(request, limit)
    gate.grow(ticket, size=declared)
    chunks: list[bytes] = []
    size = 0
    try:
        with anyio.fail_after(options.body_timeout_s):
            async for chunk in request.stream():
                size += len(chunk)
                if size > limit:
                    raise _too_large(limit)
                if size > ticket.size:
                    gate.grow(ticket, size=size - ticket.size)
                chunks.append(chunk)
    except TimeoutError:
        raise RequestProblem(408, f"the body did not arrive within {options.body_timeout_s:g} s") from None
    except ClientDisconnect:
        raise ClientGone("the client went away before its body was complete") from None
    return b"".join(chunks)


async def pictures_of(request: Request, body: bytes) -> list[Picture]:
    """The pictures of a request.

    Raises:
        RequestProblem: 415 another content type, 422 a body without pictures, 413 too many.
    """
    kind = request.headers.get("content-type", "application/octet-stream").split(";")[0].strip().lower()
    if kind.startswith(RAW_TYPES):
        pictures = [Picture(body, "picture")] if body else []
    elif kind == "multipart/form-data":
        pictures = await _multipart(request, body)
    elif kind == "application/json":
        # Megabytes of base64 are not for the event loop.
        pictures = await asyncio.to_thread(_from_json, body)
    else:
        raise RequestProblem(415, f"content type {kind!r} is not read; {HOW}")
    if not pictures:
        raise RequestProblem(422, f"the request has no picture in it; {HOW}")
    check_count(len(pictures))
    return pictures


def check_count(pictures: int) -> None:
    """Refuse more pictures than one request may bring.

    Raises:
        RequestProblem: 413.
    """
    if pictures > MAX_PICTURES:
        raise RequestProblem(413, f"{pictures} pictures in one request; at most {MAX_PICTURES}, send several requests")


class _InMemory(MultiPartParser):
    """Keeps every part in memory: no picture may reach a disk."""

    spool_max_size = 2**62


async def _multipart(request: Request, body: bytes) -> list[Picture]:
    async def once() -> AsyncGenerator[bytes, None]:
        yield body

    def parse() -> FormData:
        # In a thread, with a loop of its own: searching megabytes for boundaries is not for the server's loop.
        return asyncio.run(_InMemory(request.headers, once(), max_files=MAX_PICTURES + 1, max_fields=64).parse())

    try:
        form = await asyncio.to_thread(parse)
    except (MultiPartException, KeyError, UnicodeDecodeError) as error:
        if "Too many" in str(error):
            check_count(MAX_PICTURES + 1)
        raise RequestProblem(
            422, f"the multipart body is damaged ({getattr(error, 'message', error)}); {HOW}"
        ) from None
    pictures: list[Picture] = []
    for number, part in enumerate(form.getlist("picture")):
        if isinstance(part, UploadFile):
            name = (part.filename or f"picture-{number + 1}")[:NAME_LENGTH]
            pictures.append(Picture(await part.read(), name))
        else:
            pictures.append(Picture(part.encode("latin-1", "replace"), f"picture-{number + 1}"))
    return pictures


def _from_json(body: bytes) -> list[Picture]:
    document = parse_json(body)
    entries = cast(dict[str, Any], document).get("pictures") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise RequestProblem(422, f'expected JSON {{"pictures": [...]}}; {HOW}')
    texts = cast(list[object], entries)
    check_count(len(texts))
    return [_decoded(text, f"picture-{number + 1}") for number, text in enumerate(texts)]


def parse_json(body: bytes) -> object:
    """JSON, whatever it is.

    Raises:
        RequestProblem: 422, not JSON.
    """
    try:
        return strict_json(body)
    except ValueError as error:
        raise RequestProblem(422, f"the body is not JSON ({error})") from None


def _decoded(text: object, source: str) -> Picture:
    """What a base64 text or a data URL holds. Anything else is that picture's error, and not its neighbors'."""
    if not isinstance(text, str):
        return Picture(b"", source, f"{source}: expected base64 text, found {type(text).__name__}")
    encoded = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return Picture(base64.b64decode(encoded, validate=True), source)
    except (binascii.Error, ValueError):
        why = "not base64 nor a data URL; the server fetches no addresses and opens no paths"
        return Picture(b"", source, f"{source}: {why}")


def _declared(request: Request, limit: int) -> int:
    text = request.headers.get("content-length")
    if text is None:
        return 0
    if not text.isascii() or not text.isdigit():
        raise RequestProblem(400, f"Content-Length {text[:20]!r} is no number")
    if (size := int(text)) > limit:
        raise _too_large(limit)
    return size


def _too_large(limit: int) -> RequestProblem:
    return RequestProblem(413, f"the body is larger than {limit:,} bytes")
