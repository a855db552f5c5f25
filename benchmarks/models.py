"""The bundled models side by side: pictures a second on one thread, in turns, and how near they come to a product.

The product is one of two square matrices in the same runtime, on the same thread, in the same run: of floats, and of
bytes. A model's operations are those of its convolutions and products alone, two for each multiplication.

    python benchmarks/models.py
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, shape_inference

from mien.model.bundle import BUNDLED, load_bundle
from mien.model.session import Session

ROUNDS, SECONDS = 3, 1.0
SIDE = 1024
"""Of the matrices."""


def rate(call: Callable[[], object], count: int) -> float:
    """How many a second, where one call does `count`."""
    call()
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < SECONDS:
        call()
        done += count
    return done / (time.perf_counter() - started)


def operations(model: bytes) -> float:
    """Of one picture's convolutions and products, in units of 1e9."""
    graph = shape_inference.infer_shapes(onnx.load_from_string(model)).graph
    values = (*graph.value_info, *graph.input, *graph.output)
    shapes = {v.name: [d.dim_value or 1 for d in v.type.tensor_type.shape.dim] for v in values}
    shapes |= {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    total = 0
    for node in graph.node:
        if node.op_type == "Conv":
            total += math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[1]][1:])
        elif node.op_type == "Gemm":
            total += math.prod(shapes[node.input[1]])
    return 2 * total / 1e9


def product(kind: str) -> Callable[[], object]:
    """A product of two matrices, of "floats" or "bytes", in a session of one thread."""
    floats = kind == "floats"
    left, right, out = (TensorProto.FLOAT,) * 3 if floats else (TensorProto.UINT8, TensorProto.INT8, TensorProto.INT32)
    node = helper.make_node("MatMul" if floats else "MatMulInteger", ["a", "b"], ["c"])
    rng = np.random.default_rng(0)
    weights = rng.integers(-100, 100, (SIDE, SIDE)).astype(np.float32 if floats else np.int8)
    graph = helper.make_graph(
        [node],
        "product",
        [helper.make_tensor_value_info("a", left, [SIDE, SIDE])],
        [helper.make_tensor_value_info("c", out, [SIDE, SIDE])],
        [helper.make_tensor("b", right, [SIDE, SIDE], weights.tobytes(), raw=True)],
    )
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    given = rng.integers(0, 200, (SIDE, SIDE)).astype(np.float32 if floats else np.uint8)
    return lambda: session.run(None, {"a": given})


def main() -> None:
    """Print the best of the rounds, the ratio to `large`, and the share of a product's speed."""
    sessions = {name: Session(load_bundle(name), 1) for name in BUNDLED}
    products = {kind: product(kind) for kind in ("floats", "bytes")}
    fastest = dict.fromkeys(products, 0.0)
    for batch in (1, 64):
        best = dict.fromkeys(sessions, 0.0)
        for _ in range(ROUNDS):
            for name, session in sessions.items():
                spec = session.manifest.input
                shape = (batch, spec.height, spec.width, spec.channels)
                crops = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
                best[name] = max(best[name], rate(lambda: session.run(crops), batch))  # noqa: B023 - called at once
            for kind, multiply in products.items():
                fastest[kind] = max(fastest[kind], rate(multiply, 1) * 2 * SIDE**3 / 1e9)
        for name, found in best.items():
            model = load_bundle(name).model
            speed = found * operations(model)
            shares = ", ".join(f"{speed / most:4.0%} of a product of {kind}" for kind, most in fastest.items())
            print(
                f"batch {batch:2}: {name:8} {len(model) / 1e6:5.2f} MB {found:7.0f}/s, {found / best['large']:4.1f} x "
                f"large; {speed:5.1f} GFLOP/s, {shares}"
            )
    print(", ".join(f"{kind}: {most:.0f} GFLOP/s" for kind, most in fastest.items()))


if __name__ == "__main__":
    main()
