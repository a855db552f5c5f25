"""A bundle -> a plain ONNX file for a program that is not mien: float pictures in, logits out.

The program prepares pictures in its own way: it scales them to a mean and a standard deviation, and gives them as
`[B, C, S, S]`. Nodes put before the bundle's graph undo that, so that the graph sees the pixels that it was made for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from mien.errors import TrainingError
from mien.files import write_bytes
from mien.model.bundle import Bundle
from mien.model.manifest import Answer, InputSpec
from mien.model.prior import Prior
from mien.model.session import Session, softmax
from mien.output.files import check_bundle_path

BENCH_SIDES = (48, 64, 96, 112, 160, 224)
"""Sides of the picture in pixels that SI100B EmotionBench takes."""

BENCH_CLASSES = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")

BENCH_SCALE = {1: ((0.5077,), (0.2551,)), 3: ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))}
"""Channels -> its mean and standard deviation of pixels in 0..1: FER2013's in gray, ImageNet's in color."""

OPSET, IR = 21, 10
"""The newest that onnxruntime 1.20 runs."""

GRAY = (0.299, 0.587, 0.114)
"""Weights of red, green and blue (ITU-R BT.601), as Pillow and OpenCV have them."""

TOLERANCE = 1e-4
"""Largest difference of a probability between the file and the bundle, on pictures of whole gray levels."""


@dataclass(frozen=True)
class PlainFormat:
    """What the other program gives and takes.

    Attributes:
        side: height and width of its pictures; None: the bundle's.
        channels: 1 or 3 (red, green, blue); None: the bundle's.
        mean: that it subtracts from pixels in 0..1, one a channel.
        std: that it divides by after that.
        output: "logits", or "probabilities".
        classes: the order of the output's columns; empty: the bundle's.
        prior: the mix of classes to expect.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    side: int | None = None
    channels: int | None = None
    output: str = "logits"
    classes: tuple[str, ...] = ()
    prior: Prior = field(default_factory=Prior)


def bench_format(bundle: Bundle, prior: Prior) -> PlainFormat:
    """What SI100B EmotionBench wants: alphabetical logits of seven classes, its own scaling.

    Args:
        bundle: of seven classes.
        prior: even, for a set in which each class is about as common as any other.

    Raises:
        TrainingError: the bundle has other classes.
    """
    spec = bundle.manifest.input
    answer = bundle.manifest.label_answer
    if set(answer.classes) != set(BENCH_CLASSES):
        raise TrainingError(
            f"{bundle.path}: the contest wants the classes {', '.join(BENCH_CLASSES)}; the bundle has "
            f"{', '.join(answer.classes)}"
        )
    side = next((s for s in BENCH_SIDES if s >= max(spec.height, spec.width)), BENCH_SIDES[-1])
    mean, std = BENCH_SCALE[spec.channels]
    return PlainFormat(mean, std, side, spec.channels, "logits", BENCH_CLASSES, prior)


def export_plain(bundle: Bundle, out: Path, wanted: PlainFormat, *, answer: Answer, overwrite: bool = False) -> bytes:
    """Write the plain file, after comparing it with the bundle.

    Args:
        bundle: of any model that mien runs.
        out: the `.onnx` file.
        wanted: what the program gives and takes.
        answer: which of the bundle's answers.
        overwrite: replace `out`.

    Returns:
        the file's bytes.

    Raises:
        OutputError: `out` is taken or cannot be written.
        TrainingError: a format that the bundle cannot be put into, or a file that does not answer as the bundle does.
    """
    check_bundle_path(out, overwrite=overwrite)
    wanted = _complete(bundle, wanted, answer)
    model = onnx.load_model_from_string(bundle.model)
    del model.metadata_props[:]
    spec = bundle.manifest.input
    prefix, constants = _undo_scaling(spec, wanted)
    suffix, more = _finish(answer, wanted, bundle.manifest.name)
    output = answer.outputs.logits or answer.outputs.probabilities
    assert output
    nodes = [*prefix, *model.graph.node, *suffix]
    graph = helper.make_graph(
        _needed(nodes, "output"),
        "mien",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["B", wanted.channels, wanted.side, wanted.side])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["B", len(wanted.classes)])],
        [*model.graph.initializer, *constants, *more],
    )
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    imports = [i for i in model.opset_import if i.domain not in ("", "ai.onnx")]
    opset = max(i.version for i in model.opset_import if i.domain in ("", "ai.onnx"))
    plain = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset), *imports], ir_version=IR)
    if opset > OPSET:
        plain = onnx.version_converter.convert_version(plain, OPSET)
    helper.set_model_props(plain, {"made_by": "mien", "bundle_sha256": hashlib.sha256(bundle.model).hexdigest()})
    onnx.checker.check_model(plain)
    data = plain.SerializeToString()
    _compare(data, bundle, wanted, answer)
    write_bytes(out, data)
    return data


def _complete(bundle: Bundle, wanted: PlainFormat, answer: Answer) -> PlainFormat:
    spec = bundle.manifest.input
    side, channels = wanted.side or spec.height, wanted.channels or spec.channels
    if wanted.side is None and spec.height != spec.width:
        raise TrainingError(f"{bundle.path}: takes {spec.height} x {spec.width}; expected a square input")
    mean, std = (tuple(v) * channels if len(v) == 1 else tuple(v) for v in (wanted.mean, wanted.std))
    if len(mean) != channels or len(std) != channels or min(std) <= 0:
        raise TrainingError(
            f"expected a mean and a positive std for each of {channels} channels, found {list(mean)} and {list(std)}"
        )
    if wanted.output not in ("logits", "probabilities"):
        raise TrainingError(f"expected the output logits or probabilities, found {wanted.output!r}")
    classes = wanted.classes or answer.classes
    if set(classes) != set(answer.classes):
        raise TrainingError(f"{bundle.path}: expected the classes {', '.join(answer.classes)}")
    return PlainFormat(mean, std, side, channels, wanted.output, tuple(classes), wanted.prior)


def _constant(name: str, value: object, dtype: type = np.float32) -> TensorProto:
    return numpy_helper.from_array(np.asarray(value, dtype), f"plain.{name}")


def _undo_scaling(spec: InputSpec, wanted: PlainFormat) -> tuple[list[onnx.NodeProto], list[TensorProto]]:
    """Nodes from the program's tensor to the bundle's input: pixels, size, color, layout, type."""
    assert wanted.channels
    constants = [
        _constant("std", 255 * np.array(wanted.std).reshape(1, -1, 1, 1)),
        _constant("mean", 255 * np.array(wanted.mean).reshape(1, -1, 1, 1)),
        _constant("low", 0.0), _constant("high", 255.0),
    ]  # fmt: skip
    nodes = [
        helper.make_node("Mul", ["input", "plain.std"], ["plain.spread"]),
        helper.make_node("Add", ["plain.spread", "plain.mean"], ["plain.pixels"]),
    ]
    last = "plain.pixels"
    if (wanted.side, wanted.side) != (spec.height, spec.width):
        constants.append(_constant("hw", [spec.height, spec.width], np.int64))
        # The batch is the tensor's own: only the last two sides are named (opset 18 on).
        nodes.append(
            helper.make_node(
                "Resize",
                [last, "", "", "plain.hw"],
                ["plain.resized"],
                mode="linear",
                axes=[2, 3],
                antialias=1,
                coordinate_transformation_mode="half_pixel",
            )
        )
        last = "plain.resized"
    nodes, last = _recolor(spec, wanted.channels, nodes, constants, last)
    if spec.dtype == "uint8":
        nodes += [
            helper.make_node("Round", [last], ["plain.rounded"]),
            helper.make_node("Clip", ["plain.rounded", "plain.low", "plain.high"], ["plain.clipped"]),
            helper.make_node("Cast", ["plain.clipped"], ["plain.cast"], to=TensorProto.UINT8),
        ]
    else:
        mean = np.array(spec.mean or (0.0,)).reshape(1, -1, 1, 1)
        std = np.array(spec.std or (1.0,)).reshape(1, -1, 1, 1)
        constants += [_constant("own_scale", spec.scale / std), _constant("own_shift", -mean / std)]
        nodes += [
            helper.make_node("Mul", [last, "plain.own_scale"], ["plain.own_scaled"]),
            helper.make_node("Add", ["plain.own_scaled", "plain.own_shift"], ["plain.cast"]),
        ]
    layout = [0, 2, 3, 1] if spec.layout == "NHWC" else [0, 1, 2, 3]
    nodes.append(helper.make_node("Transpose", ["plain.cast"], [spec.name], perm=layout))
    return nodes, constants


def _recolor(
    spec: InputSpec, channels: int, nodes: list[onnx.NodeProto], constants: list[TensorProto], last: str
) -> tuple[list[onnx.NodeProto], str]:
    if channels == 3 and spec.channels == 1:
        constants.append(_constant("gray", np.array(GRAY).reshape(1, 3, 1, 1)))
        return [*nodes, helper.make_node("Conv", [last, "plain.gray"], ["plain.one"])], "plain.one"
    if channels == 1 and spec.channels == 3:
        return [*nodes, helper.make_node("Concat", [last] * 3, ["plain.three"], axis=1)], "plain.three"
    if spec.color == "bgr":
        constants.append(_constant("swap", [2, 1, 0], np.int64))
        return [*nodes, helper.make_node("Gather", [last, "plain.swap"], ["plain.bgr"], axis=1)], "plain.bgr"
    return nodes, last


def _finish(answer: Answer, wanted: PlainFormat, model: str) -> tuple[list[onnx.NodeProto], list[TensorProto]]:
    """Nodes from the bundle's logits to the output: temperature, prior, order of the classes."""
    constants: list[TensorProto] = []
    nodes: list[onnx.NodeProto] = []
    if answer.outputs.logits:
        constants.append(_constant("temperature", answer.calibration.temperature))
        nodes.append(helper.make_node("Div", [answer.outputs.logits, "plain.temperature"], ["plain.scores"]))
    else:
        nodes.append(helper.make_node("Log", [str(answer.outputs.probabilities)], ["plain.scores"]))
    shift = wanted.prior.shift(answer, model)
    constants.append(_constant("prior", np.zeros(len(answer.classes)) if shift is None else shift))
    constants.append(_constant("order", [answer.classes.index(c) for c in wanted.classes], np.int64))
    nodes += [
        helper.make_node("Add", ["plain.scores", "plain.prior"], ["plain.evened"]),
        helper.make_node(
            "Gather", ["plain.evened", "plain.order"], ["output" if wanted.output == "logits" else "plain.ordered"],
            axis=1,
        ),
    ]  # fmt: skip
    if wanted.output == "probabilities":
        nodes.append(helper.make_node("Softmax", ["plain.ordered"], ["output"], axis=1))
    return nodes, constants


def _needed(nodes: Sequence[onnx.NodeProto], output: str) -> list[onnx.NodeProto]:
    """The nodes that `output` needs, in order."""
    wanted, kept = {output}, list[onnx.NodeProto]()
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(node.input)
    return kept[::-1]


def _compare(data: bytes, bundle: Bundle, wanted: PlainFormat, answer: Answer) -> None:
    """Ask both about pictures of the bundle's own size; refuse a file that answers otherwise."""
    spec = bundle.manifest.input
    assert wanted.channels
    assert wanted.side
    if (wanted.side, wanted.side, wanted.channels) != (spec.height, spec.width, spec.channels):
        return  # another size or color goes through a resize that only the file has
    pixels = np.random.default_rng(0).integers(0, 256, (3, spec.height, spec.width, spec.channels), dtype=np.uint8)
    shown = pixels[..., ::-1] if spec.color == "bgr" else pixels
    scaled = (shown / 255 - np.array(wanted.mean)) / np.array(wanted.std)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    plain = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    found = np.asarray(plain.run(None, {"input": np.ascontiguousarray(scaled.transpose(0, 3, 1, 2), np.float32)})[0])
    session = Session(bundle, threads=1, answer=answer.name or None, prior=wanted.prior)
    expected = session.run(pixels)[0][:, [answer.classes.index(c) for c in wanted.classes]]
    found = softmax(found) if wanted.output == "logits" else found
    worst = float(np.abs(found - expected).max())
    if not worst <= TOLERANCE:
        raise TrainingError(f"{bundle.path}: the plain file's answers differ from the bundle's by {worst:.1e}")
