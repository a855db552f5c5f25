"""An ONNX graph, opened in ONNX Runtime. What was asked for is what runs, or an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import BundleError

ort: Any = import_module("onnxruntime")  # it has no type information; what comes out of it is checked below

Tensor = NDArray[Any]

CPU = ("CPUExecutionProvider",)

_DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """An input or output: its numpy dtype's name, and its shape with a name or None where a side may vary."""

    dtype: str
    shape: tuple[int | str | None, ...]


class Graph:
    """An open graph. Safe to call from several threads.

    Args:
        model: the bytes of an ONNX file.
        source: its name, for errors.
        threads: CPU threads for one call; 0 lets ONNX Runtime take every core.
        providers: ONNX Runtime execution providers, in order of preference.

    Attributes:
        inputs: each input, by name.
        outputs: each output, by name.

    Raises:
        BundleError: the graph cannot be loaded, or a provider is not to be had.
    """

    def __init__(self, model: bytes, source: str, *, threads: int = 0, providers: Sequence[str] = CPU) -> None:
        missing = [p for p in providers if p not in ort.get_available_providers()]
        if missing:
            raise BundleError(
                f"execution provider {', '.join(missing)} is not in this ONNX Runtime; it has "
                f"{', '.join(ort.get_available_providers())}"
            )
        self._source = source
        try:
            self._session = ort.InferenceSession(model, _options(threads), providers=list(providers))
        except Exception as error:  # onnxruntime's errors share no public base class
            raise BundleError(f"{source}: ONNX Runtime cannot load this graph ({_first_line(error)})") from error
        running = self._session.get_providers()
        if running[0] != providers[0]:  # ONNX Runtime falls back without a word
            raise BundleError(f"{source}: asked for {providers[0]}, but ONNX Runtime runs it on {running[0]}")
        self.inputs = _described(self._session.get_inputs())
        self.outputs = _described(self._session.get_outputs())

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """The named outputs for these inputs.

        Raises:
            BundleError: the graph cannot be run on them.
        """
        try:
            results: list[Tensor] = self._session.run(list(outputs), dict(inputs))
        except Exception as error:  # onnxruntime's errors share no public base class
            raise BundleError(f"{self._source}: ONNX Runtime cannot run this graph ({_first_line(error)})") from error
        return [np.asarray(result) for result in results]


def _options(threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return options


def _described(tensors: Any) -> dict[str, TensorInfo]:
    return {t.name: TensorInfo(_DTYPES.get(str(t.type), str(t.type)), tuple(t.shape)) for t in tensors}


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
