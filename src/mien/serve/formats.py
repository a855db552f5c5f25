"""What was read -> the answer in the format that the client accepts: JSON, CSV, JSON lines, or the drawn picture."""

from __future__ import annotations

import csv
import io
import json

from starlette.responses import Response

from mien.output.rows import columns, flat, json_line
from mien.serve.problems import RequestProblem
from mien.serve.service import RequestResult

JSON, CSV, LINES, JPEG = "application/json", "text/csv", "application/x-ndjson", "image/jpeg"
FORMATS = (JSON, CSV, LINES, JPEG)


def wanted_format(accept: str) -> str:
    """The best of `FORMATS` for an Accept header; JSON for "".

    Raises:
        RequestProblem: 406, none is accepted.
    """
    best, weight = "", 0.0
    for part in accept.lower().split(",") if accept.strip() else ["*/*"]:
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        quality = _quality(parameters)
        matches = (name for name in FORMATS if kind in (name, "*/*", name.split("/")[0] + "/*"))
        if quality > weight and (name := next(matches, "")):
            best, weight = name, quality
    if not best:
        raise RequestProblem(406, f"none of the accepted formats can be given; there are {', '.join(FORMATS)}")
    return best


def respond(answer: RequestResult, form: str) -> Response:
    """The answer in one of `FORMATS`; 422 if no picture could be read, 500 if that is the server's fault."""
    status, headers = _status(answer), _headers(answer)
    if form == JPEG and status == 200:
        return Response(answer.pictures[0].jpeg, media_type=JPEG, headers=headers)
    rows = [row for picture in answer.pictures for row in picture.rows]
    if form == CSV:
        classes = answer.serving.manifest.answer(answer.wish.answer).classes
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(columns(classes))
        writer.writerows(list(flat(row, classes).values()) for row in rows)
        data = text.getvalue().encode("utf-8", "backslashreplace")
        return Response(data, status, media_type=f"{CSV}; charset=utf-8", headers=headers)
    if form == LINES:
        return Response("".join(map(json_line, rows)), status, media_type=LINES, headers=headers)
    failed = f'"error": {json.dumps(answer.pictures[0].error)}, ' if status != 200 else ""
    pictures = ", ".join(picture.json for picture in answer.pictures)
    manifest, wish = answer.serving.manifest, answer.wish
    classes = {"classes": list(manifest.answer(wish.answer).classes)}
    model = {**answer.serving.about(), **classes, **wish.about(manifest)}
    text = f'{{{failed}"model": {json.dumps(model)}, "pictures": [{pictures}]}}'
    return Response(text, status, media_type=JSON, headers=headers)


def _headers(answer: RequestResult) -> dict[str, str]:
    """What read the pictures, for the formats that have no other place for it."""
    serving, wish = answer.serving, answer.wish.about(answer.serving.manifest)
    found = {
        "mien-model": f"{serving.name}@{serving.version}",
        "mien-answer": wish["answer"],
        "mien-prior": wish["prior"],
    }
    return {name: _ascii(value) for name, value in found.items() if value}


def _ascii(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode()


def _status(answer: RequestResult) -> int:
    if any(picture.error is None or picture.width for picture in answer.pictures):
        return 200
    return 500 if any(picture.ours for picture in answer.pictures) else 422


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0
