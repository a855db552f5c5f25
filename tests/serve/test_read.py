"""`/v1/read` and `/v1/live`: the server says what the library says."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mien.media.image import decode
from mien.output.rows import rows_of
from mien.pipeline import Recognizer
from tests.serve.conftest import Running

JPEG = {"content-type": "image/jpeg"}


def without_source(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "source": ""} for row in rows]


def test_the_server_says_what_the_library_says(server: Running, group: Path):
    data = group.read_bytes()
    (result,) = Recognizer("default", threads=1).read_all(decode(data, "picture"))
    answer = server.client.post("/v1/read", content=data, headers=JPEG).json()
    (picture,) = answer["pictures"]
    assert picture["faces"] == json.loads(json.dumps(rows_of(result)))
    assert (picture["width"], picture["height"], picture["error"]) == (1180, 512, None)
    assert len(picture["faces"]) == 3
    model = answer["model"]
    assert (model["name"], model["version"], len(model["sha256"])) == ("default", 1, 64)
    assert model["classes"] == list(picture["faces"][0]["probabilities"])


def test_the_server_gives_the_answer_and_prior_of_its_start(start_server: Callable[..., Running], group: Path):
    server = start_server(workers=1, answer="fer2013", prior="even", prior_strength=0.5)
    told = server.client.post("/v1/read", content=group.read_bytes()).json()
    assert (told["model"]["answer"], told["model"]["prior"]) == ("fer2013", "even, strength 0.5")
    expected = Recognizer("default", answer="fer2013", prior="even", prior_strength=0.5).read(group)
    for face, reading in zip(told["pictures"][0]["faces"], expected, strict=True):
        assert face["answer"] == "fer2013"
        assert list(face["probabilities"].values()) == pytest.approx(list(reading.expression.probabilities), abs=1e-5)
    (about,) = server.client.get("/v1/models").json()["models"]
    assert "fer2013" in str(about)


def test_every_way_to_send_pictures_gives_the_same_rows(server: Running, portrait: bytes):
    text = base64.b64encode(portrait).decode()
    sent = {
        "raw": {"content": portrait},
        "multipart": {"files": [("picture", ("me.jpg", portrait, "image/jpeg"))]},
        "json": {"json": {"pictures": [text]}},
        "data url": {"json": {"pictures": [f"data:image/jpeg;base64,{text}"]}},
    }
    answers = {name: server.client.post("/v1/read", **request).json() for name, request in sent.items()}
    rows = [without_source(answer["pictures"][0]["faces"]) for answer in answers.values()]
    assert rows[0][0]["label"] == "happy"
    assert all(row == rows[0] for row in rows)
    assert answers["multipart"]["pictures"][0]["source"] == "me.jpg"


def test_one_bad_picture_among_ten_is_an_error_of_its_own(server: Running, portrait: bytes):
    parts = [("picture", (f"{n}.jpg", portrait if n != 4 else b"not a picture", "image/jpeg")) for n in range(10)]
    answer = server.client.post("/v1/read", files=parts)
    assert answer.status_code == 200
    pictures = answer.json()["pictures"]
    assert [picture["error"] is None for picture in pictures] == [n != 4 for n in range(10)]
    assert "4.jpg: not a picture in a known format" in pictures[4]["error"]
    assert [len(picture["faces"]) for picture in pictures] == [1, 1, 1, 1, 0, 1, 1, 1, 1, 1]


def test_csv_and_json_lines_hold_the_same_rows(server: Running, group: Path):
    data = group.read_bytes()
    answers = {
        form: server.client.post("/v1/read", content=data, headers={**JPEG, "accept": form})
        for form in ("text/csv", "application/x-ndjson", "text/html, application/json;q=0.5")
    }
    table = list(csv.DictReader(io.StringIO(answers["text/csv"].text)))
    lines = [json.loads(line) for line in answers["application/x-ndjson"].text.splitlines()]
    assert [row["label"] for row in table] == [row["label"] for row in lines]
    assert len(table) == 3
    assert answers["text/html, application/json;q=0.5"].json()["pictures"][0]["faces"] == lines


def test_a_drawn_picture_comes_back_as_jpeg(server: Running, portrait: bytes):
    for request in ({"params": {"annotate": "true"}}, {"headers": {"accept": "image/jpeg"}}):
        answer = server.client.post("/v1/read", content=portrait, **request)
        assert answer.headers["content-type"] == "image/jpeg"
        assert Image.open(io.BytesIO(answer.content)).size == (256, 256)


def test_the_smallest_face_and_the_model_are_chosen_by_query(server: Running, portrait: bytes):
    faces = [
        server.client.post("/v1/read", content=portrait, params=params).json()["pictures"][0]["faces"]
        for params in ({}, {"min_face": 200}, {"model": "default"}, {"model": "default@1"})
    ]
    assert [len(found) for found in faces] == [1, 0, 1, 1]
    for wrong in ("nobody", "default@2", "default@x"):
        assert server.client.post("/v1/read", content=portrait, params={"model": wrong}).status_code == 404


def test_frames_of_an_animation_are_followed(server: Running, portrait: bytes):
    still = Image.open(io.BytesIO(portrait))
    data = io.BytesIO()
    still.save(data, "GIF", save_all=True, append_images=[still.rotate(2), still.rotate(4)], duration=100)
    (picture,) = server.client.post("/v1/read", content=data.getvalue()).json()["pictures"]
    assert [face["frame"] for face in picture["faces"]] == [0, 1, 2]
    assert {face["track"] for face in picture["faces"]} == {1}


def test_only_so_many_frames_of_an_animation_are_read(server: Running):
    small = [Image.new("L", (32, 32), n * 3) for n in range(70)]
    data = io.BytesIO()
    small[0].save(data, "GIF", save_all=True, append_images=small[1:])
    (picture,) = server.client.post("/v1/read", content=data.getvalue()).json()["pictures"]
    assert "only the first 64 frames are read" in picture["error"]


def test_a_frame_of_a_camera_is_read_like_a_picture(server: Running, portrait: bytes):
    answer = server.client.post("/v1/live", content=portrait, headers={**JPEG, "x-client-id": "me"})
    assert answer.json()["pictures"][0]["faces"][0]["label"] == "happy"


def test_models_metrics_and_the_interface_are_told(server: Running, portrait: bytes):
    server.client.post("/v1/read", content=portrait)
    (model,) = server.client.get("/v1/models").json()["models"]
    assert (model["name"], model["shadow"], model["canary"], model["refused"]) == ("default", None, None, [])
    text = server.client.get("/metrics").text
    assert 'mien_http_requests_total{code="200",method="POST",route="/v1/read"}' in text
    assert 'mien_model_info{name="default"' in text
    assert "me.jpg" not in text
    assert "/v1/read" in server.client.get("/openapi.json").json()["paths"]


@pytest.mark.parametrize("path", ["/", "/app.js", "/site.json", "/samples/group.jpg"])
def test_the_page_comes_with_headers_that_keep_pictures_home(server: Running, path: str):
    answer = server.client.get(path)
    assert answer.status_code == 200
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert answer.headers["cross-origin-embedder-policy"] == "require-corp"
    assert "camera=(self)" in answer.headers["permissions-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    ["/site.py", "/../pyproject.toml", "/%2e%2e/%2e%2e/pyproject.toml", "/__init__.py", "//etc/passwd", "/nothing"],
)
def test_nothing_but_the_page_is_served(server: Running, path: str):
    assert server.client.get(path).status_code == 404
