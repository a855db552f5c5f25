"""The Open Inference Protocol, by Triton's own client and by hand."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.model.bundle import load_bundle
from mien.model.session import Session
from mien.serve.problems import RequestProblem
from mien.serve.tensors import HEADER_LENGTH, Tensor, answer_infer, parse_infer
from tests.serve.conftest import Running

SIDE = load_bundle("default").manifest.input


def crops(count: int) -> Any:
    random = np.random.default_rng(7)
    return random.integers(0, 256, (count, SIDE.height, SIDE.width, SIDE.channels), np.uint8)


def in_json(array: Any, name: str = "faces") -> dict[str, Any]:
    shape = list(array.shape)
    return {"inputs": [{"name": name, "datatype": "UINT8", "shape": shape, "data": array.ravel().tolist()}]}


def test_tritons_client_gets_what_the_library_computes(server: Running):
    http = pytest.importorskip("tritonclient.http", reason="tritonclient[http] is not installed")
    client = http.InferenceServerClient(url="{}:{}".format(*server.address))
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("default")
    assert client.is_model_ready("default", "1")
    assert client.get_model_metadata("default")["inputs"][0]["shape"] == [-1, SIDE.height, SIDE.width, SIDE.channels]
    faces = crops(3)
    probabilities, logits = Session(load_bundle("default"), 1).run(faces)
    for binary in (True, False):
        asked = http.InferInput("faces", list(faces.shape), "UINT8")
        asked.set_data_from_numpy(faces, binary_data=binary)
        wanted = [http.InferRequestedOutput(name, binary_data=binary) for name in ("probabilities", "logits")]
        result = client.infer("default", [asked], outputs=wanted, request_id="7")
        np.testing.assert_allclose(result.as_numpy("probabilities"), probabilities, atol=1e-6)
        np.testing.assert_allclose(result.as_numpy("logits"), logits, atol=1e-5)
        assert result.get_response()["model_version"] == "1"
        assert result.get_response()["id"] == "7"
    with pytest.raises(http.InferenceServerException, match="does not serve here"):
        client.infer("default", [asked], model_version="9")
    client.close()


def test_tritons_client_sends_picture_files(server: Running, group: Path, portrait: bytes):
    http = pytest.importorskip("tritonclient.http", reason="tritonclient[http] is not installed")
    client = http.InferenceServerClient(url="{}:{}".format(*server.address))
    files = np.array([portrait, group.read_bytes(), b"no picture"], object)
    asked = http.InferInput("picture", [3], "BYTES")
    asked.set_data_from_numpy(files)
    result = client.infer("default-pictures", [asked])
    rows = [json.loads(text) for text in result.as_numpy("readings")]
    assert [len(found) for found in rows] == [1, 3, 1]
    assert rows[0][0]["label"] == "happy"
    assert "not a picture in a known format" in rows[2][0]["error"]
    client.close()


def test_kserves_client_speaks_it_too(server: Running):
    kserve = pytest.importorskip("kserve", reason="kserve is not installed")
    import asyncio

    async def ask() -> Any:
        client = kserve.InferenceRESTClient(config=kserve.RESTConfig(protocol="v2"))
        assert await client.is_server_ready(server.url.rstrip("/"))
        faces = crops(2)
        tensor = kserve.InferInput("faces", list(faces.shape), "UINT8")
        tensor.set_data_from_numpy(faces, binary_data=True)
        asked = kserve.InferRequest("default", [tensor])
        return faces, await client.infer(server.url.rstrip("/"), asked, model_name="default")

    faces, answer = asyncio.run(ask())
    probabilities, _ = Session(load_bundle("default"), 1).run(faces)
    np.testing.assert_allclose(answer.outputs[0].as_numpy(), probabilities, atol=1e-6)


def test_the_server_describes_itself(server: Running):
    get = server.client.get
    assert get("/v2").json()["extensions"] == ["binary_tensor_data"]
    assert get("/v2/models/default/versions/1").json()["versions"] == ["1"]
    assert get("/v2/models/default-pictures").json()["inputs"] == [
        {"name": "picture", "datatype": "BYTES", "shape": [-1]}
    ]
    for missing in ("/v2/models/nobody", "/v2/models/default/versions/2", "/v2/models/default/versions/x/ready"):
        assert get(missing).status_code == 404


GOOD = in_json(crops(1))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"inputs": []}, "expected one input faces"),
        ({"inputs": 7}, "inputs: expected a list of objects"),
        ({"inputs": [{"name": "faces"}]}, "datatype: expected text"),
        ({"inputs": [{**GOOD["inputs"][0], "shape": [2, SIDE.height, SIDE.width, 1]}]}, "values for the shape"),
        ({"inputs": [{**GOOD["inputs"][0], "shape": [-1]}]}, "shape: expected up to 8 whole numbers"),
        ({"inputs": [{**GOOD["inputs"][0], "datatype": "FP64"}]}, "is not read; there is BYTES"),
        ({"inputs": [{**GOOD["inputs"][0], "data": [300]}]}, "values for the shape"),
        ({"inputs": [{**GOOD["inputs"][0], "shape": [1], "data": [300]}]}, "UINT8 holds whole numbers from 0 to 255"),
        ({"inputs": [{**GOOD["inputs"][0], "shape": [1], "data": [0.5]}]}, "UINT8 holds whole numbers from 0 to 255"),
        ({"inputs": [{**GOOD["inputs"][0], "shape": [1], "data": [7]}]}, "faces: expected the shape"),
        ({"inputs": [{**GOOD["inputs"][0], "data": "x"}]}, "expected data, or binary_data_size"),
        ({"inputs": [{**GOOD["inputs"][0], "data": [["x"]]}]}, "something else than numbers"),
        ({"inputs": [GOOD["inputs"][0]] * 2}, "comes twice"),
        ({"outputs": [{"name": "nothing"}]}, "no output 'nothing'; there is probabilities, logits"),
        ({"inputs": [{**GOOD["inputs"][0], "parameters": {"binary_data_size": 9}}]}, "does not fit"),
    ],
)
def test_a_request_that_breaks_the_protocol_is_told_where(server: Running, change: dict[str, Any], why: str):
    answer = server.client.post("/v2/models/default/infer", json={**GOOD, **change})
    assert answer.status_code == 400
    assert why in answer.json()["error"]


@pytest.mark.parametrize("length", ["x", "-1", "99999999", "1.5", ""])
def test_a_wrong_length_of_the_json_part_is_told(server: Running, length: str):
    answer = server.client.post("/v2/models/default/infer", content=b"{}", headers={HEADER_LENGTH: length})
    assert answer.status_code == 400


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=5), st.booleans())
def test_texts_come_back_as_they_were_sent(values: list[bytes], named: bool):
    raw = b"".join(struct.pack("<I", len(value)) + value for value in values)
    entry = {"name": "a", "datatype": "BYTES", "shape": [len(values)], "parameters": {"binary_data_size": len(raw)}}
    outputs = {"outputs": [{"name": "b", "parameters": {"binary_data": True}}]} if named else {}
    head = json.dumps({"inputs": [entry], "parameters": {"binary_data_output": True}, **outputs}).encode()
    request = parse_infer(head + raw, str(len(head)))
    assert request.inputs["a"].values == values
    body, headers = answer_infer(request, "m", "1", [Tensor("b", "BYTES", (len(values),), values)], {})
    size = int(headers[HEADER_LENGTH])
    assert json.loads(body[:size])["outputs"][0]["parameters"]["binary_data_size"] == len(raw)
    assert body[size:] == raw


@given(st.binary(max_size=200), st.none() | st.integers(0, 200).map(str))
def test_any_bytes_are_a_request_or_a_clear_problem(body: bytes, length: str | None):
    try:
        parse_infer(body, length)
    except RequestProblem as problem:
        assert problem.status in (400, 422)  # noqa: PT017
