"""A bundle's graph, opened and checked against its manifest."""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import BundleError, BundleMismatch
from mien.model.bundle import Bundle
from mien.model.crop import Crops
from mien.model.graph import Graph, Placement
from mien.model.manifest import InputSpec
from mien.model.prior import Prior

Scores = NDArray[np.float32]
"""float32 `[N, K]`."""


SUM_TOLERANCE = 0.01
"""A row of probabilities sums to 1 within this: what halves and bytes make of them."""

LEAST = 1e-12
"""A probability of 0 is taken for this much: its logarithm counts."""


class Session:
    """An open model. Safe to call from several threads.

    Args:
        bundle: the model.
        threads: CPU threads for one call; 0 lets ONNX Runtime take every core.
        device: what computes; see `mien.model.device`.
        answer: the name of the answer to give; None: the bundle's default.
        prior: the mix of classes to expect; None: that of the training.

    Attributes:
        answer: the answer that `run` gives.
        prior: the mix of classes that `run` expects.

    Raises:
        BundleError: the graph cannot be loaded, there is no such answer, or another prior is wanted and the bundle
            does not say which one it learned.
        DeviceError: the device cannot be used.
        DatasetError: a prior that does not go with the answer's classes.
        BundleMismatch: the graph's tensors are not those of the manifest.
    """

    def __init__(
        self, bundle: Bundle, threads: int = 0, *, answer: str | None = None, prior: Prior | None = None,
        device: str = "cpu",
    ) -> None:  # fmt: skip
        self.bundle = bundle
        self.manifest = bundle.manifest
        self.answer = bundle.manifest.answer(answer)
        self.prior = prior or Prior()
        self._shift = self.prior.shift(self.answer, self.manifest.name)
        self._graph = Graph(bundle.model, str(bundle.path), threads=threads, device=device)
        _check_graph(bundle, self._graph)

    @property
    def placement(self) -> Placement | None:
        """How much of the graph the device computes; None on the CPU."""
        return self._graph.placement

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the answer that is given, in the order of its columns."""
        return self.answer.classes

    def giving(self, answer: str | None, prior: Prior | None = None) -> Session:
        """The same open model, with another of its answers; None: the default answer, the prior of its training.

        Raises:
            BundleError: the bundle has no such answer, or does not say which prior the answer learned.
            DatasetError: a prior that does not go with the answer's classes.
        """
        other = copy(self)
        other.answer, other.prior = self.manifest.answer(answer), prior or Prior()
        other._shift = other.prior.shift(other.answer, self.manifest.name)
        return other

    def each_answer(self) -> list[Session]:
        """The same open model, once for each of its answers; the default comes first."""
        return [self.giving(answer.name or None) for answer in self.manifest.all_answers]

    def run(self, crops: Crops) -> tuple[Scores, Scores]:
        """Probabilities and logits, both float32 `[N, K]`, of uint8 crops `[N, H, W, C]`; N may be 0.

        The logits are the graph's; the probabilities are shifted to `prior`.

        Raises:
            BundleMismatch: crops of another shape or dtype than the manifest's.
        """
        spec = self.manifest.input
        expected = (spec.height, spec.width, spec.channels)
        if crops.dtype != np.uint8 or crops.shape[1:] != expected:
            raise BundleMismatch(
                f"expected crops uint8 [N, {', '.join(map(str, expected))}], found {crops.dtype} {list(crops.shape)}"
            )
        if not len(crops):
            empty = np.empty((0, len(self.classes)), np.float32)
            return empty, np.empty_like(empty)
        names = self.answer.outputs
        wanted = [n for n in (names.probabilities, names.logits) if n]
        found = self._outputs(wanted, crops)
        broken = [name for name, values in found.items() if not np.isfinite(values).all()]
        if broken:
            raise BundleError(f"{self.bundle.path}: the model's {broken[0]} are not finite numbers for this input")
        if names.probabilities is None:
            logits = found[str(names.logits)]
            return self._shifted(softmax(logits / self.answer.calibration.temperature)), logits
        probabilities = found[names.probabilities]
        if np.abs(probabilities.sum(axis=1) - 1).max() > SUM_TOLERANCE or probabilities.min() < -SUM_TOLERANCE:
            raise BundleMismatch(
                f"{self.bundle.path}: output {names.probabilities!r} is no probabilities: a row sums to "
                f"{float(probabilities[0].sum()):.6g}; name it as logits in the manifest"
            )
        logits = found[names.logits] if names.logits else np.log(np.maximum(probabilities, LEAST))
        return self._shifted(probabilities), logits

    def _outputs(self, wanted: list[str], crops: Crops) -> dict[str, Scores]:
        """The graph's outputs. A graph with a fixed batch is run in pieces of its size, the last one filled up."""
        spec = self.manifest.input
        fixed = self._graph.inputs[spec.name].shape[0]
        size = fixed if isinstance(fixed, int) and fixed > 0 else len(crops)
        pieces: list[list[Scores]] = []
        for start in range(0, len(crops), size):
            piece = crops[start : start + size]
            filled = np.concatenate([piece, np.repeat(piece[-1:], size - len(piece), axis=0)])
            outputs = self._graph.run(wanted, {spec.name: _to_tensor(filled, spec)})
            for name, values in zip(wanted, outputs, strict=True):
                if values.dtype != np.float32 or values.shape != (size, len(self.classes)):
                    raise BundleMismatch(
                        f"{self.bundle.path}: output {name!r} of {size} faces: expected float32 "
                        f"{[size, len(self.classes)]}, found {values.dtype} {list(values.shape)}"
                    )
            pieces.append([values[: len(piece)] for values in outputs])
        return {name: np.concatenate([piece[i] for piece in pieces]) for i, name in enumerate(wanted)}

    def _shifted(self, probabilities: Scores) -> Scores:
        if self._shift is None:
            return probabilities
        return softmax(np.log(np.maximum(probabilities, LEAST)) + self._shift)


def softmax(logits: Scores) -> Scores:
    """Along the last axis, in float32, safe for large values."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)


def _to_tensor(crops: Crops, spec: InputSpec) -> NDArray[Any]:
    tensor: NDArray[Any] = crops
    if spec.dtype == "float32":
        mean = np.asarray(spec.mean or 0.0, np.float32)
        std = np.asarray(spec.std or 1.0, np.float32)
        tensor = (crops.astype(np.float32) * np.float32(spec.scale) - mean) / std
    return np.ascontiguousarray(np.moveaxis(tensor, 3, 1)) if spec.layout == "NCHW" else tensor


def _check_graph(bundle: Bundle, graph: Graph) -> None:
    spec = bundle.manifest.input
    if list(graph.inputs) != [spec.name]:
        raise _mismatch(bundle, "input names", [spec.name], list(graph.inputs))
    tensor = graph.inputs[spec.name]
    if tensor.dtype != spec.dtype:
        raise _mismatch(bundle, f"input {spec.name!r} dtype", spec.dtype, tensor.dtype)
    size = [spec.height, spec.width]
    shape = [spec.channels, *size] if spec.layout == "NCHW" else [*size, spec.channels]
    if len(tensor.shape) != 4 or any(
        isinstance(f, int) and f != e for e, f in zip(shape, tensor.shape[1:], strict=True)
    ):
        raise _mismatch(bundle, f"input {spec.name!r} shape ({spec.layout})", ["N", *shape], list(tensor.shape))
    for answer in bundle.manifest.all_answers:
        for name in filter(None, (answer.outputs.probabilities, answer.outputs.logits)):
            if name not in graph.outputs:
                raise _mismatch(bundle, "output names", name, list(graph.outputs))
            if isinstance(columns := graph.outputs[name].shape[-1], int) and columns != len(answer.classes):
                raise _mismatch(bundle, f"columns of output {name!r}", f"{len(answer.classes)} classes", columns)


def _mismatch(bundle: Bundle, what: str, manifest: object, graph: object) -> BundleMismatch:
    return BundleMismatch(
        f"{bundle.path}: {what}: the manifest says {manifest}, the graph has {graph}; correct the manifest or "
        "export the model again"
    )
