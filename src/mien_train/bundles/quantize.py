"""A graph in floats -> the same graph with its convolutions in int8 (arXiv 1712.05877), by ONNX Runtime's quantizer.

Weights become signed, one scale a channel, activations unsigned. The first convolution stays in float, and so does
whatever is not one: the normalization of the pictures, the linear layers, the softmax. That is a hundredth of the work;
with the first convolution in int8, ONNX Runtime moves the pictures' channels early, which costs more than it gains.

A processor without VNNI adds two u8 x s8 products in 16 bits, where large ones saturate. Weights of 7 bits cannot: the
sums are then the same on every processor, and the file may travel.
"""

from __future__ import annotations

import io
import logging
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from mien.errors import TrainingError
from mien.model.bundle import Bundle
from mien.model.crop import Crops
from mien.model.manifest import Manifest, OutputSpec
from mien.model.session import Session

METHODS: dict[str, tuple[CalibrationMethod, dict[str, Any]]] = {
    "percentile 99.999": (CalibrationMethod.Percentile, {"CalibPercentile": 99.999}),
    "entropy": (CalibrationMethod.Entropy, {}),
}
"""Ways to find the range of an activation: where so many of its values lie, or where its distribution loses least."""

BATCH = 20


def quantize(model: bytes, manifest: Manifest, crops: Crops, judged: Crops) -> tuple[bytes, str]:
    """Put the convolutions of `model`, but for the first, into int8.

    Args:
        model: ONNX, in floats.
        manifest: what goes with it.
        crops: uint8 `[N, H, W, C]`, what the activations' ranges are taken from.
        judged: as `crops`, others: the method is kept whose probabilities differ least on them.

    Returns:
        ONNX bytes, and which of `METHODS` it was.

    Raises:
        TrainingError: a graph without convolutions, or with convolutions in int8 already.
    """
    kinds = {node.op_type for node in onnx.load_model_from_string(model).graph.node}
    if "QuantizeLinear" in kinds or "Conv" not in kinds:
        found = "one in int8 already; compress the model it was made of" if "Conv" in kinds else "none"
        raise TrainingError(f"expected a graph with convolutions in float, found {found}")
    wanted = _probabilities(model, manifest, judged)
    made = {name: _quantized(model, manifest.input.name, crops, name) for name in METHODS}
    losses = {name: np.abs(_probabilities(m, manifest, judged) - wanted).mean() for name, m in made.items()}
    best = min(losses, key=lambda name: losses[name])
    return made[best], best


def with_temperature(model: bytes, outputs: OutputSpec, temperature: float) -> bytes:
    """The graph with the probabilities of `outputs` taken at another temperature: softmax(logits / temperature)."""
    proto = onnx.load_model_from_string(model)
    nodes = list(proto.graph.node)
    softmax = next(n for n in nodes if n.op_type == "Softmax" and n.output[0] == outputs.probabilities)
    old = next((n for n in nodes if n.op_type == "Div" and n.output[0] == softmax.input[0]), None)
    logits = str(outputs.logits)
    name, scaled = f"{logits}_temperature", f"{logits}_scaled"
    divide = helper.make_node("Div", [logits, name], [scaled], f"divide_{logits}_by_temperature")
    softmax.input[0] = scaled
    for node in filter(None, (softmax, old)):
        proto.graph.node.remove(node)
    proto.graph.node.extend([divide, softmax])
    kept = [i for i in proto.graph.initializer if i.name != name and not (old and i.name == old.input[1])]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend([*kept, numpy_helper.from_array(np.array(temperature, np.float32), name)])
    return proto.SerializeToString()


class _Reader(CalibrationDataReader):
    """Crops in batches of one size, as the quantizer wants them; of a remainder the last crop repeats."""

    def __init__(self, name: str, crops: Crops) -> None:
        padded = crops[np.minimum(np.arange(-(-len(crops) // BATCH) * BATCH), len(crops) - 1)]
        self.batches = iter([{name: padded[i : i + BATCH]} for i in range(0, len(padded), BATCH)])

    def get_next(self) -> dict[str, Crops]:
        return next(self.batches, {})


def _quantized(model: bytes, name: str, crops: Crops, method: str) -> bytes:
    way, options = METHODS[method]
    proto = onnx.load_model_from_string(model)
    first = next(node.name for node in proto.graph.node if node.op_type == "Conv")
    with tempfile.TemporaryDirectory() as folder, _quiet():
        out = Path(folder, "int8.onnx")
        quantize_static(
            proto, out, _Reader(name, crops), quant_format=QuantFormat.QDQ, op_types_to_quantize=["Conv"],
            nodes_to_exclude=[first], per_channel=True, reduce_range=True, activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8, calibrate_method=way, extra_options=options,
        )  # fmt: skip
        return out.read_bytes()


@contextmanager
def _quiet() -> Generator[None]:
    """The quantizer prints, and advises to prepare graphs that need no preparing."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(level)


def _probabilities(model: bytes, manifest: Manifest, crops: Crops) -> NDArray[np.float32]:
    """Those of every answer, side by side."""
    session = Session(Bundle(Path("compressed.onnx"), model, manifest, None, sealed=False), threads=1)
    found = [
        np.concatenate([one.run(crops[i : i + 256])[0] for i in range(0, len(crops), 256)])
        for one in session.each_answer()
    ]
    return np.concatenate(found, axis=1)
