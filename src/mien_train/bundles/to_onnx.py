"""A trained network -> a bundle: normalization, temperature and softmax go into the graph, the contract beside it."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageDraw
from torch import Tensor, nn

from mien.errors import TrainingError
from mien.imaging import from_pillow, resize, to_gray, to_pillow
from mien.model.bundle import GoldenVectors
from mien.model.crop import Crops
from mien.model.manifest import Answer, InputSpec, OutputSpec
from mien_train.data.tensors import normalize

GOLDEN_CROPS = 8

OPSET = 18
"""Version of ONNX's operators in graphs that the older converter makes; onnxruntime 1.20 runs it."""

TIME = "%Y-%m-%dT%H:%M:%SZ"
"""How manifests write a time, in UTC."""

AGREEMENT = 1e-4
"""Largest difference between a graph and its network, as a share of the largest value or of 1."""


@dataclass(frozen=True, slots=True)
class AnswerColumns:
    """Columns of a network's output that are one answer: the first of them, how many, and the temperature."""

    start: int
    count: int
    temperature: float


class DeployedNetwork(nn.Module):
    """What the graph computes: uint8 `[N, H, W, C]` -> probabilities and logits `[N, K]`, of each answer in turn.

    `logits` are those of the network; `probabilities` are softmax(logits / temperature).

    Args:
        network: its first columns learned the labels.
        classes: how many columns those are.
        temperature: theirs.
        people: the columns that learned the votes, if they are to be answered; this answer then comes first.
    """

    def __init__(
        self, network: nn.Module, classes: int, temperature: float, people: AnswerColumns | None = None
    ) -> None:
        super().__init__()
        labels = AnswerColumns(0, classes, temperature)
        self.network, self.heads = network, (people, labels) if people else (labels,)

    def forward(self, faces: Tensor) -> tuple[Tensor, ...]:
        images = normalize(faces.permute(0, 3, 1, 2).to(torch.float32) / 255)
        columns = self.network(images)
        found: list[Tensor] = []
        for head in self.heads:
            logits = columns[:, head.start : head.start + head.count]
            found += [torch.softmax(logits / head.temperature, dim=1), logits]
        return tuple(found)


def to_onnx(deployed: DeployedNetwork, spec: InputSpec, answers: Sequence[Answer] = ()) -> bytes:
    """The graph as ONNX, batch size dynamic; its outputs are called as in `answers`, or as a single answer's are."""
    outputs = [answer.outputs for answer in answers] or [OutputSpec()]
    example = torch.zeros(2, spec.height, spec.width, spec.channels, dtype=torch.uint8)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of its own deprecated parts
        program = torch.onnx.export(
            deployed.eval(),
            (example,),
            input_names=[spec.name],
            output_names=[str(name) for o in outputs for name in (o.probabilities, o.logits)],
            dynamic_shapes=({0: torch.export.Dim("N", min=1)},),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    return without_traces(program.model_proto).SerializeToString()


def to_onnx_checked(deployed: DeployedNetwork, spec: InputSpec) -> bytes:
    """The graph of a network whose code is not ours: converted, run, and compared with the network.

    Torch's older converter goes first: it takes a second where the newer one takes ten.

    Raises:
        TrainingError: no converter of torch's can take the network, or the graph does not compute the same.
    """
    reasons: list[str] = []
    for convert in (_traced_onnx, to_onnx):
        try:
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                warnings.simplefilter("ignore")
                graph = convert(deployed, spec)
            if difference := _difference(graph, deployed, spec):
                reasons.append(difference)
                continue
            return graph
        except Exception as error:  # converters raise whatever the user's code drives them into
            reasons.append(str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__)
    raise TrainingError(
        "this network cannot be converted to ONNX: expected a forward() that computes with tensors alone, for any "
        f"number of pictures; torch says: {'; '.join(dict.fromkeys(reasons))}"
    )


def _traced_onnx(deployed: DeployedNetwork, spec: InputSpec) -> bytes:
    example = torch.zeros(2, spec.height, spec.width, spec.channels, dtype=torch.uint8)
    names = ["probabilities", "logits"]
    file = io.BytesIO()
    torch.onnx.export(
        deployed.eval(),
        (example,),
        file,  # pyright: ignore[reportArgumentType] - the older converter takes one; the stubs know the newer alone
        input_names=[spec.name],
        output_names=names,
        dynamic_axes={name: {0: "N"} for name in (spec.name, *names)},
        dynamo=False,
        opset_version=OPSET,
    )
    return without_traces(onnx.load_model_from_string(file.getvalue())).SerializeToString()


def _difference(graph: bytes, deployed: DeployedNetwork, spec: InputSpec) -> str:
    """How the graph's answers differ from the network's on noise, in batches of several sizes; empty if they do not."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    for count in (1, 2, 5):
        crops = rng.integers(0, 256, (count, spec.height, spec.width, spec.channels), dtype=np.uint8)
        with torch.inference_mode():
            expected = [t.numpy() for t in deployed(torch.from_numpy(crops))]
        answers = [np.asarray(answer) for answer in session.run(None, {spec.name: crops})]
        for name, found, wanted in zip(("probabilities", "logits"), answers, expected, strict=True):
            if found.shape != wanted.shape:
                return f"the graph gives {name} {list(found.shape)} for {count} pictures"
            worst = float(np.abs(found - wanted).max())
            if not worst <= AGREEMENT * max(1.0, float(np.abs(wanted).max())):
                return f"the graph's {name} differ from the network's by {worst:.1e}"
    return ""


def without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model`, changed in place: without the exporter's notes on its parts, which name files of this machine."""
    graph = model.graph
    for part in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    return model


def make_golden(deployed: DeployedNetwork, spec: InputSpec, answers: Sequence[Answer] = ()) -> GoldenVectors:
    """Golden vectors on drawn crops: no picture of a person travels in a bundle."""
    crops = drawn_crops(spec)
    with torch.inference_mode():
        found = [p.numpy().astype(np.float32) for p in deployed.eval()(torch.from_numpy(crops))[::2]]
    return GoldenVectors(crops, found[0], others={a.name: p for a, p in zip(answers[1:], found[1:], strict=True)})


def drawn_crops(spec: InputSpec) -> Crops:
    """`GOLDEN_CROPS` cartoon faces of different mood and light, uint8 `[N, H, W, C]`, always the same."""
    rng = np.random.default_rng(20_130_000)
    crops = np.empty((GOLDEN_CROPS, spec.height, spec.width, spec.channels), np.uint8)
    for index, crop in enumerate(crops):
        side = 96
        shade = np.linspace(40 + 10 * index, 120, side, dtype=np.float32)
        canvas = np.repeat(shade[None, :, None], side, axis=0).repeat(3, axis=2)
        canvas += rng.normal(0, 6, canvas.shape).astype(np.float32)
        canvas = np.clip(canvas, 0, 255).astype(np.uint8)
        drawn = _draw_face(canvas, mood=(index % 5 - 2) / 2, opening=index % 3, brow=index % 4 - 1)
        small = resize(drawn, spec.width, spec.height)
        crop[...] = to_gray(small)[..., None] if spec.channels == 1 else small
    return crops


def created_now() -> str:
    """The time, UTC, as manifests write it."""
    return datetime.now(timezone.utc).strftime(TIME)


def _draw_face(canvas: NDArray[np.uint8], mood: float, opening: int, brow: int) -> NDArray[np.uint8]:
    """A face on a 96-pixel canvas; `mood` -1..1 bends the mouth, `opening` parts the lips, `brow` tilts the brows."""
    fine = 4  # drawn four times as large and shrunk: smooth edges
    picture = to_pillow(canvas).resize((fine * canvas.shape[1], fine * canvas.shape[0]), PillowImage.Resampling.NEAREST)
    draw = ImageDraw.Draw(picture)

    def ellipse(x: float, y: float, half_width: float, half_height: float, color: tuple[int, int, int]) -> None:
        corners = (x - half_width, y - half_height, x + half_width, y + half_height)
        draw.ellipse([fine * value for value in corners], color)

    def line(points: Sequence[tuple[float, float]], color: tuple[int, int, int], width: int) -> None:
        draw.line([(fine * x, fine * y) for x, y in points], color, fine * width, joint="curve")

    dark = (50, 40, 40)
    ellipse(48, 50, 34, 42, (220, 190, 170))
    for side in (-1, 1):
        ellipse(48 + side * 14, 42, 6, 3 + opening, (245, 245, 245))
        ellipse(48 + side * 14, 42, 3, 3, dark)
        line([(48 + side * 22, 33 - brow * 2), (48 + side * 7, 33 + brow * 2)], dark, 2)
    line([(48, 46), (46, 58)], (170, 140, 120), 2)
    across = np.linspace(-14, 14, 15).tolist()
    line([(48 + x, 72 - mood * (x**2 / 14 - 7)) for x in across], dark, 2 + 2 * opening)
    return from_pillow(picture.reduce(fine))
