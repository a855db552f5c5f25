"""The interface as OpenAPI 3.1: what `/openapi.json` answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mien._version import __version__
from mien.serve.options import MAX_FRAMES, MAX_PICTURES, ServeOptions
from mien.serve.read_options import MAX_MIN_FACE, NAMES

Part = dict[str, Any]

FAILURES = {
    "400": "The request breaks the protocol.",
    "401": "A token is needed.",
    "403": "Another origin's page.",
    "404": "No such model or version.",
    "406": "None of the accepted formats can be given.",
    "408": "The body came too slowly.",
    "413": "The body is too large, or has too many pictures.",
    "415": "Another content type.",
    "421": "Another Host than this server's.",
    "422": "No picture could be read.",
    "429": "Too much to do; Retry-After says when there is room.",
    "500": "The server failed.",
    "503": "The server starts or stops.",
    "504": "Not answered in time.",
}
GUARDED = ("401", "403", "421", "500")


def document(options: ServeOptions, models: Sequence[str] = ()) -> Part:
    """The document.

    Args:
        options: whose limits stand in it.
        models: names for the protocol's routes, as examples.
    """
    read = ("404", "406", "408", "413", "415", "422", "429", "503", "504")
    infer = ("400", "404", "408", "413", "422", "429", "503", "504")
    about = f"At most {MAX_PICTURES} pictures, {options.max_body:,} bytes, {options.max_pixels:,} pixels a picture and "
    about += f"{MAX_FRAMES} frames of an animation. One bad picture is an error of its own; its neighbors are read."
    reading = _operation("Read the expressions in pictures.", about, _answers(), read)
    reading |= {"parameters": _read_parameters(), "requestBody": _pictures()}
    live = {**reading, "summary": "Read one frame of a camera."}
    live["parameters"] = [*_read_parameters(), _header("X-Client-Id", "A client that names itself has one in flight.")]
    paths: Part = {
        "/v1/read": {"post": {**reading, "operationId": "read"}},
        "/v1/live": {"post": {**live, "operationId": "live"}},
        "/v1/models": {"get": _operation("What serves, and what was refused.", "", _json(_object("models")))},
        "/openapi.json": {"get": _operation("This document.", "", _json({"type": "object"}))},
        "/metrics": {"get": _operation("Counts, for Prometheus.", "", {"text/plain": {"schema": {"type": "string"}}})},
        "/v2": {"get": _operation("What this is.", "", _json(_object("name", "version")))},
        "/v2/health/live": {"get": _operation("Whether the process answers.", "", _json(_object("live")))},
        "/v2/health/ready": {
            "get": _operation("Whether it takes requests.", "", _json(_object("ready")), ("503",), ready=True)
        },
    }
    for path, version in (("/v2/models/{model}", False), ("/v2/models/{model}/versions/{version}", True)):
        names = [_path_parameter("model", *models), *([_path_parameter("version", "1")] if version else [])]
        paths[path] = {"get": _operation("A model.", "", _json(_object("name", "versions")), ("404", "503"), names)}
        paths[f"{path}/ready"] = {
            "get": _operation("Whether it serves.", "", _json(_object("ready")), ("404", "503"), names)
        }
        answer: Part = {**_json(_object("model_name", "outputs")), "application/octet-stream": {}}
        body: Part = {"content": {"application/json": {"schema": _infer_schema()}, "application/octet-stream": {}}}
        paths[f"{path}/infer"] = {
            "post": {
                **_operation("Tensors in, tensors out.", "Open Inference Protocol.", answer, infer, names),
                "requestBody": {"required": True, **body},
            }
        }
    return {
        "openapi": "3.1.0",
        "info": {"title": "mien", "version": __version__, "description": "Finds faces and reads their expression."},
        "paths": paths,
        "components": {"schemas": {"Error": _object("error"), "Answer": _answer_schema()}},
    }


def _operation(
    summary: str,
    description: str,
    content: Part,
    failures: tuple[str, ...] = (),
    parameters: list[Part] | None = None,
    *,
    ready: bool = False,
) -> Part:
    error = {"application/json": {"schema": {} if ready else {"$ref": "#/components/schemas/Error"}}}
    responses: Part = {"200": {"description": "Done.", "content": content}}
    for status in sorted({*failures, *GUARDED}):
        responses[status] = {"description": FAILURES[status], "content": error}
    for status in ("422", "500"):
        if status in responses:  # by Accept, a picture that cannot be read is an error row in that format
            responses[status] = {**responses[status], "content": {**content, **error}}
    operation: Part = {"summary": summary, "responses": responses}
    if description:
        operation["description"] = description
    if parameters:
        operation["parameters"] = parameters
    return operation


def _read_parameters() -> list[Part]:
    pixels = {"type": "number", "minimum": 1, "maximum": MAX_MIN_FACE}
    share = {"type": "number", "minimum": 0, "maximum": 1}
    text = {"type": "string"}
    prior = 'Mix of classes to expect: training, even, or shares as JSON, {"happy": 0.3, ...}.'
    return [
        {"name": "answer", "in": "query", "schema": text, "description": "Which of the model's answers to give."},
        {"name": "prior", "in": "query", "schema": text, "description": prior},
        {"name": "prior_strength", "in": "query", "schema": share, "description": "How far to go to that mix."},
        {"name": "min_face", "in": "query", "schema": pixels, "description": "Smallest face wanted, pixels."},
        {"name": "min_score", "in": "query", "schema": share, "description": "Least confidence of the detector."},
        {"name": "annotate", "in": "query", "schema": {"type": "boolean"}, "description": "Answer the drawn picture."},
        {"name": "model", "in": "query", "schema": {"type": "string"}, "description": "NAME or NAME@VERSION."},
    ]


def _pictures() -> Part:
    binary = {"type": "string", "format": "binary"}
    several = {"type": "array", "items": binary, "minItems": 1, "maxItems": MAX_PICTURES}
    texts = {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": MAX_PICTURES}
    return {
        "required": True,
        "content": {
            "image/jpeg": {"schema": binary},
            "image/png": {"schema": binary},
            "application/octet-stream": {"schema": binary},
            "multipart/form-data": {
                "schema": {"type": "object", "required": ["picture"], "properties": {"picture": several}}
            },
            "application/json": {
                "schema": {"type": "object", "required": ["pictures"], "properties": {"pictures": texts}}
            },
        },
    }


def _answers() -> Part:
    text = {"schema": {"type": "string"}}
    return {
        "application/json": {"schema": {"$ref": "#/components/schemas/Answer"}},
        "text/csv": text,
        "application/x-ndjson": text,
        "image/jpeg": {"schema": {"type": "string", "format": "binary"}},
    }


def _answer_schema() -> Part:
    picture = _object("source", "width", "height", "faces", "error")
    picture["properties"] = {
        "faces": {"type": "array", "items": {"type": "object"}, "description": "Rows as `mien predict --json` prints."},
        "error": {"type": ["string", "null"]},
    }
    return {
        "type": "object",
        "required": ["model", "pictures"],
        "properties": {
            "model": _object("name", "version", "sha256", "classes", "answer", "prior"),
            "pictures": {"type": "array", "items": picture},
        },
    }


def _infer_schema() -> Part:
    tensor = _object("name", "datatype", "shape")
    tensor["properties"] = {
        "name": {"type": "string", "minLength": 1},
        "datatype": {"enum": ["BYTES", "UINT8", "FP32"]},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "data": {"type": "array"},
    }
    return {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "parameters": _infer_parameters(),
            "inputs": {"type": "array", "items": tensor, "minItems": 1},
        },
    }


def _infer_parameters() -> Part:
    """What a request may choose; the protocol's own parameters go beside it."""
    return {"type": "object", "description": f"Of the model: {', '.join(NAMES)}, as in /v1/read."}


def _object(*required: str) -> Part:
    return {"type": "object", "required": list(required)} if required else {"type": "object"}


def _json(schema: Part) -> Part:
    return {"application/json": {"schema": schema}}


def _header(name: str, description: str) -> Part:
    return {"name": name, "in": "header", "schema": {"type": "string"}, "description": description}


def _path_parameter(name: str, *examples: str) -> Part:
    shown = {"examples": {example: {"value": example} for example in examples}} if examples else {}
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, **shown}
