"""`/v2`: the Open Inference Protocol over REST, as Triton's and KServe's clients speak it.

Each model of the server is two of the protocol's. `NAME` takes crops and gives probabilities and logits.
`NAME-pictures` takes the bytes of picture files and gives the same rows as `/v1/read`, as JSON.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mien._version import __version__
from mien.errors import MienError
from mien.model.classify import BATCH
from mien.model.crop import Crops
from mien.output.rows import utf8
from mien.serve.bodies import check_count, read_body
from mien.serve.problems import RequestProblem
from mien.serve.read_options import ReadOptions, parse_read_options
from mien.serve.reader import Picture
from mien.serve.routes import CLIENT_HEADER, gone_of
from mien.serve.service import Service
from mien.serve.serving import Serving
from mien.serve.slot import Slot
from mien.serve.tensors import HEADER_LENGTH, InferRequest, Tensor, answer_infer, parse_infer

SUFFIX = "-pictures"
MAX_CROPS = 1024
"""Crops in one request."""

CROPS_A_PICTURE = 16
"""How many crops count as one picture when room is asked for: they need no detector."""


@dataclass(frozen=True)
class ProtocolRoutes:
    """The routes of `/v2` that anybody may call."""

    service: Service

    def routes(self) -> list[Route]:
        """For Starlette."""
        model, version = "/v2/models/{model}", "/v2/models/{model}/versions/{version}"
        return [
            Route("/v2", self.server, methods=["GET"]),
            Route("/v2/health/live", self.live, methods=["GET"]),
            Route("/v2/health/ready", self.ready, methods=["GET"]),
            *(Route(path, self.metadata, methods=["GET"]) for path in (model, version)),
            *(Route(f"{path}/ready", self.model_ready, methods=["GET"]) for path in (model, version)),
            *(Route(f"{path}/infer", self.infer, methods=["POST"]) for path in (model, version)),
        ]

    async def server(self, _: Request) -> Response:
        """What this is."""
        return JSONResponse({"name": "mien", "version": __version__, "extensions": ["binary_tensor_data"]})

    async def live(self, _: Request) -> Response:
        """200 as long as the process answers."""
        return JSONResponse({"live": True})

    async def ready(self, _: Request) -> Response:
        """200 when it takes requests; 503 while it starts or drains."""
        ready = self.service.state == "ready"
        return JSONResponse({"ready": ready, "state": self.service.state}, 200 if ready else 503)

    async def metadata(self, request: Request) -> Response:
        """Inputs and outputs of a model."""
        slot, serving, pictures = self._find(request)
        return JSONResponse(_metadata(slot, serving, pictures=pictures))

    async def model_ready(self, request: Request) -> Response:
        """200 for a model that serves."""
        slot, _, pictures = self._find(request)
        return JSONResponse({"name": slot.name + SUFFIX * pictures, "ready": True})

    async def infer(self, request: Request) -> Response:
        """Tensors in, tensors out."""
        service, options = self.service, self.service.options
        slot, serving, pictures = self._find(request)
        with service.gate.admit(1, 0) as ticket:
            body = await read_body(request, options, service.gate, ticket)
            deadline = time.monotonic() + options.timeout_s
            (asked,) = await service.compute(
                [partial(parse_infer, body, request.headers.get(HEADER_LENGTH))], gone_of(request), deadline
            )
            wish = serving.filled(parse_read_options(asked.parameters))
            if pictures:
                files = _files(asked)
                service.gate.grow(ticket, max(len(files) - 1, 0))
                answer = await service.read(slot, serving, files, wish, gone_of(request), deadline)
                serving = answer.serving
                texts = [utf8(json.dumps(picture.rows, ensure_ascii=False)).encode() for picture in answer.pictures]
                tensors = [Tensor("readings", "BYTES", (len(texts),), texts)]
            else:
                crops = _crops(asked, serving)
                service.gate.grow(ticket, max(-(-len(crops) // CROPS_A_PICTURE) - 1, 0))
                job = partial(_classify, serving, crops, wish)
                (tensors,) = await service.compute([job], gone_of(request), deadline)
            name, about = slot.name + SUFFIX * pictures, wish.about(serving.manifest)
            data, headers = answer_infer(asked, name, str(serving.version), tensors, about)
            return Response(data, headers=headers)

    def _find(self, request: Request) -> tuple[Slot, Serving, bool]:
        name, version = request.path_params["model"], request.path_params.get("version", "")
        slots = self.service.slots
        pictures = name not in slots and name.endswith(SUFFIX)
        reference = name.removesuffix(SUFFIX) if pictures else name
        key = request.headers.get(CLIENT_HEADER, "")
        slot, serving = self.service.choose(f"{reference}@{version}" if version else reference, key)
        return slot, serving, pictures


def _metadata(slot: Slot, serving: Serving, *, pictures: bool) -> dict[str, object]:
    spec, count = serving.manifest.input, len(serving.answer.classes)
    versions = {slot.production.version, *([slot.canary.serving.version] if slot.canary else [])}
    inputs, outputs = [_port("picture", "BYTES", [-1])], [_port("readings", "BYTES", [-1])]
    if not pictures:
        inputs = [_port("faces", "UINT8", [-1, spec.height, spec.width, spec.channels])]
        outputs = [_port(name, "FP32", [-1, count]) for name in ("probabilities", "logits")]
    return {
        "name": slot.name + SUFFIX * pictures,
        "versions": [str(version) for version in sorted(versions)],
        "platform": "onnxruntime_onnx",
        "inputs": inputs,
        "outputs": outputs,
        "parameters": {
            "classes": ",".join(serving.answer.classes),
            "answers": ",".join(filter(None, (answer.name for answer in serving.manifest.all_answers))),
            "sha256": serving.sha256,
        },
    }


def _port(name: str, datatype: str, shape: list[int]) -> dict[str, object]:
    return {"name": name, "datatype": datatype, "shape": shape}


def _only_input(asked: InferRequest, name: str, datatype: str) -> Tensor:
    found = [f"{tensor.name[:64]} ({tensor.datatype})" for tensor in asked.inputs.values()]
    tensor = asked.inputs.get(name)
    if tensor is None or len(asked.inputs) != 1 or tensor.datatype != datatype:
        raise RequestProblem(400, f"expected one input {name} ({datatype}), found {', '.join(found) or 'none'}")
    return tensor


def _files(asked: InferRequest) -> list[Picture]:
    tensor = _only_input(asked, "picture", "BYTES")
    values = cast(list[bytes], tensor.values)
    if len(tensor.shape) != 1 or not values:
        raise RequestProblem(400, f"picture: expected the shape [N] with N > 0, found {list(tensor.shape)}")
    check_count(len(values))
    return [Picture(value, f"picture-{number + 1}") for number, value in enumerate(values)]


def _crops(asked: InferRequest, serving: Serving) -> Crops:
    spec = serving.manifest.input
    tensor = _only_input(asked, "faces", "UINT8")
    if tensor.shape[1:] != (spec.height, spec.width, spec.channels) or not 0 < tensor.shape[0] <= MAX_CROPS:
        expected = f"[1 to {MAX_CROPS}, {spec.height}, {spec.width}, {spec.channels}]"
        raise RequestProblem(400, f"faces: expected the shape {expected}, found {list(tensor.shape)}")
    return cast(Crops, tensor.values)


def _classify(serving: Serving, crops: Crops, wish: ReadOptions) -> list[Tensor]:
    with serving.reader() as reader:
        session = reader.session_for(wish)
        try:
            parts = [session.run(crops[start : start + BATCH]) for start in range(0, len(crops), BATCH)]
        except MienError as error:
            raise RequestProblem(500, str(error)) from error
    names = ("probabilities", "logits")
    values = [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
    return [Tensor(name, "FP32", array.shape, array) for name, array in zip(names, values, strict=True)]
