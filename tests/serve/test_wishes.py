"""What a request may choose: the answer, the prior, which faces. The server answers as the library does."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.errors import MienError
from mien.media.image import decode
from mien.model.bundle import load_bundle
from mien.model.prior import as_prior
from mien.model.session import Session
from mien.output.rows import rows_of
from mien.pipeline import Recognizer
from mien.serve.read_options import NAMES, parse_read_options
from tests.serve.conftest import Running
from tests.serve.test_protocol import crops, in_json

CLASSES = load_bundle().manifest.classes
SHARES = {name: float(number) for number, name in enumerate(CLASSES, 1)}


@pytest.mark.parametrize(
    ("asked", "library"),
    [
        ({"answer": "fer2013"}, {"answer": "fer2013"}),
        ({"prior": "even"}, {"prior": "even"}),
        ({"prior": "even", "prior_strength": "0.5"}, {"prior": "even", "prior_strength": 0.5}),
        ({"answer": "fer2013", "prior": json.dumps(SHARES)}, {"answer": "fer2013", "prior": SHARES}),
        ({"answer": "people", "prior": "training"}, {}),
    ],
)
def test_the_answer_and_the_prior_are_the_requests(server: Running, portrait: bytes, asked: Any, library: Any):
    (result,) = Recognizer(threads=1, **library).read_all(decode(portrait, "picture"))
    answer = server.client.post("/v1/read", content=portrait, params=asked)
    document = answer.json()
    assert document["pictures"][0]["faces"] == json.loads(json.dumps(rows_of(result)))
    prior = str(as_prior(library.get("prior"), library.get("prior_strength", 1.0)))
    name = library.get("answer", "people")
    assert (document["model"]["answer"], document["model"]["prior"]) == (name, prior)
    assert [answer.headers[f"mien-{part}"] for part in ("model", "answer", "prior")] == ["default@1", name, prior]


def test_one_request_does_not_choose_for_the_next(server: Running, portrait: bytes):
    def read(**asked: str) -> Any:
        return server.client.post("/v1/read", content=portrait, params=asked).json()

    before = read()
    for _ in range(4):  # more than there are workers
        assert read(answer="fer2013", prior="even")["model"]["answer"] == "fer2013"
    assert read() == before


def test_other_formats_name_what_read_them_in_their_headers(server: Running, portrait: bytes):
    for accept in ("text/csv", "application/x-ndjson", "image/jpeg"):
        answer = server.client.post(
            "/v1/read", content=portrait, headers={"accept": accept}, params={"answer": "fer2013"}
        )
        assert (answer.headers["mien-model"], answer.headers["mien-answer"]) == ("default@1", "fer2013")
    assert (
        "fer2013"
        in server.client.post("/v1/read?answer=fer2013", content=portrait, headers={"accept": "text/csv"}).text
    )


def test_the_least_score_is_the_requests(server: Running, group: Path):
    def faces(**asked: object) -> list[Any]:
        answer = server.client.post("/v1/read", content=group.read_bytes(), params=asked)
        return answer.json()["pictures"][0]["faces"]

    scores = sorted(face["score"] for face in faces(min_score=0.1))
    assert len(scores) >= 3
    assert len(faces(min_score=scores[-1] + 1e-6)) == 0
    assert len(faces(min_score=(scores[-1] + scores[-2]) / 2)) == 1


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"answer": "nobody"}, "has no answer 'nobody'; it has people, fer2013"),
        ({"prior": "/etc/passwd"}, "prior: expected training, even or JSON"),
        ({"prior": "[1]"}, "prior: expected training, even or JSON"),
        ({"prior": '{"happy": "x"}'}, "prior: expected training, even or JSON"),
        ({"prior": '{"happy": 1}'}, "expected a share for each of"),
        ({"prior": json.dumps(dict.fromkeys(CLASSES, 0))}, "sum to more than 0"),
        ({"prior": "even", "prior_strength": "2"}, "prior_strength: expected a number from 0 to 1, found '2'"),
        ({"min_score": "nan"}, "min_score: expected a number from 0 to 1"),
        ({"min_score": "-0.1"}, "min_score: expected a number from 0 to 1"),
    ],
)
def test_a_wrong_wish_is_told_before_anything_is_read(server: Running, asked: Any, why: str):
    answer = server.client.post("/v1/read", content=b"no picture", params=asked)
    assert (answer.status_code, why in answer.json()["error"]) == (422, True), answer.text


def test_a_model_without_a_prior_says_so(start_server: Callable[..., Running], tiny_bundle: Any, portrait: bytes):
    server = start_server(models=(str(tiny_bundle.path),))
    answer = server.client.post("/v1/read?prior=even", content=portrait)
    assert (answer.status_code, "does not say how common" in answer.json()["error"]) == (422, True)
    assert server.client.post("/v1/read?prior=training", content=portrait).status_code == 200


def test_the_models_list_says_what_can_be_chosen(server: Running):
    (model,) = server.client.get("/v1/models").json()["models"]
    assert [answer["name"] for answer in model["answers"]] == ["people", "fer2013"]
    assert all(answer["has_prior"] and answer["classes"] for answer in model["answers"])


def test_parameters_of_the_protocol_choose_the_same(server: Running, portrait: bytes):
    faces = crops(2)
    asked = {**in_json(faces), "parameters": {"answer": "fer2013", "prior": "even", "prior_strength": 0.5}}
    answer = server.client.post("/v2/models/default/infer", json=asked).json()
    session = Session(load_bundle(), 1, answer="fer2013", prior=as_prior("even", 0.5))
    np.testing.assert_allclose(np.reshape(answer["outputs"][0]["data"], (2, -1)), session.run(faces)[0], atol=1e-6)
    assert answer["parameters"] == {"answer": "fer2013", "prior": "even, strength 0.5"}
    wrong = server.client.post("/v2/models/default/infer", json={**asked, "parameters": {"answer": 7}})
    assert (wrong.status_code, "answer: expected the name" in wrong.json()["error"]) == (422, True)


@given(
    st.dictionaries(
        st.sampled_from(NAMES), st.text() | st.integers() | st.floats() | st.booleans() | st.lists(st.text())
    )
)
def test_whatever_is_wished_is_a_wish_or_a_clear_problem(asked: dict[str, object]):
    with contextlib.suppress(MienError):
        wish = parse_read_options(asked)
        assert wish.min_score is None or 0 <= wish.min_score <= 1
        assert wish.prior is None or 0 <= wish.prior.strength <= 1
