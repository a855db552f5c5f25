"""Tiny ONNX models for the tests: the logits are a weighted mean brightness, so the right answer is known."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mien.model.bundle import GoldenVectors
from mien.model.manifest import Answer, InputSpec, Manifest, OutputSpec

CLASSES = ("happy", "neutral", "sad")
SLOPE = np.array([[2.0, 0.0, -2.0]], np.float32)


def tiny_onnx(
    *, size: int = 48, channels: int = 1, classes: int = 3, input_name: str = "faces", dtype: int = TensorProto.UINT8,
    layout: str = "NHWC", probabilities: str = "probabilities", logits: str = "logits",
) -> bytes:  # fmt: skip
    """uint8 faces -> logits = (mean brightness in 0..1 - 0.5) * SLOPE, and their softmax."""
    slope = np.resize(SLOPE, (1, classes)).astype(np.float32)
    shape = ["N", size, size, channels] if layout == "NHWC" else ["N", channels, size, size]
    scale = 255.0 if dtype == TensorProto.UINT8 else 1.0
    nodes = [
        helper.make_node("Cast", [input_name], ["real"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["real", "axes"], ["mean"], keepdims=0),
        helper.make_node("Div", ["mean", "scale"], ["share"]),
        helper.make_node("Sub", ["share", "half"], ["centered"]),
        helper.make_node("Unsqueeze", ["centered", "last"], ["column"]),
        helper.make_node("MatMul", ["column", "slope"], [logits]),
        helper.make_node("Softmax", [logits], [probabilities], axis=-1),
    ]
    constants = {
        "axes": np.array([1, 2, 3]),
        "scale": np.float32(scale),
        "half": np.float32(0.5),
        "last": np.array([1]),
    }
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(input_name, dtype, shape)],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", classes]) for n in (probabilities, logits)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in {**constants, "slope": slope}.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def tiny_manifest(**changes: object) -> Manifest:
    """The manifest that goes with `tiny_onnx()`."""
    spec = InputSpec(height=48, width=48, channels=1, color="gray")
    return Manifest(**{"name": "tiny", "classes": CLASSES, "input": spec, **changes})  # type: ignore[arg-type]


def tiny_golden(size: int = 48) -> GoldenVectors:
    """Three flat crops and their exact probabilities."""
    crops = np.stack([np.full((size, size, 1), level, np.uint8) for level in (0, 128, 255)])
    logits = (crops.reshape(3, -1).mean(axis=1, keepdims=True) / 255 - 0.5) * SLOPE
    powers = np.exp(logits)
    return GoldenVectors(crops, (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32))


def endless_onnx() -> bytes:
    """As `tiny_onnx`, but it counts to 2 ** 62 before it answers."""
    model = onnx.load_model_from_string(tiny_onnx())
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Identity", ["was"], ["is"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("was", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("is", TensorProto.FLOAT, None),
        ],
    )
    last = model.graph.node[-1]
    last.input[0] = "counted"
    model.graph.node.insert(
        len(model.graph.node) - 1, helper.make_node("Loop", ["often", "true", "logits"], ["counted"], body=body)
    )
    model.graph.initializer.append(helper.make_tensor("often", TensorProto.INT64, [], [2**62]))
    model.graph.initializer.append(helper.make_tensor("true", TensorProto.BOOL, [], [True]))
    return model.SerializeToString()


def two_answers_onnx(size: int = 48) -> bytes:
    """As `tiny_onnx`, with a second answer, `fer2013`, whose logits are the first's negated."""
    model = onnx.load_model_from_string(tiny_onnx(size=size))
    model.graph.node.extend(
        [
            helper.make_node("Neg", ["logits"], ["fer2013_logits"]),
            helper.make_node("Softmax", ["fer2013_logits"], ["fer2013_probabilities"], axis=-1),
        ]
    )
    names = ("fer2013_probabilities", "fer2013_logits")
    model.graph.output.extend(helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 3]) for n in names)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def two_answers(people: dict[str, float] | None = None) -> tuple[Answer, Answer]:
    """The answers that go with `two_answers_onnx`; `people` is the prior of the first."""
    other = OutputSpec(probabilities="fer2013_probabilities", logits="fer2013_logits")
    return (
        Answer(name="people", classes=CLASSES, outputs=OutputSpec(), prior=people or {}),
        Answer(name="fer2013", classes=CLASSES, outputs=other),
    )


def two_answers_golden(size: int = 48) -> GoldenVectors:
    """As `tiny_golden`, for both answers."""
    golden = tiny_golden(size)
    inverse = 1 / golden.probabilities
    others = {"fer2013": (inverse / inverse.sum(axis=1, keepdims=True)).astype(np.float32)}
    return GoldenVectors(golden.crops, golden.probabilities, others=others)
