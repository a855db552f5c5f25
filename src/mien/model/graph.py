"""An ONNX graph, opened in ONNX Runtime. What was asked for is what runs, or an error."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import BundleError, DeviceError
from mien.model.device import CPU, Device, candidates

ort: Any = import_module("onnxruntime")  # it has no type information; what comes out of it is checked below

Tensor = NDArray[Any]

_DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}

_log = logging.getLogger("mien")


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """An input or output: its numpy dtype's name, and its shape with a name or None where a side may vary."""

    dtype: str
    shape: tuple[int | str | None, ...]


@dataclass(frozen=True, slots=True)
class Placement:
    """How many of a graph's operations, as ONNX Runtime fused them, run on the device; the CPU runs the others."""

    device: Device
    there: int
    operations: int

    def __str__(self) -> str:
        return f"{self.there} of {self.operations} operations on {self.device}"


class Graph:
    """An open graph. Safe to call from several threads.

    Args:
        model: the bytes of an ONNX file.
        source: its name, for errors.
        threads: CPU threads for one call; 0 lets ONNX Runtime take every core.
        device: what computes; see `mien.model.device`. `auto` takes a graphics card that works, or else the CPU.

    Attributes:
        device: what computes.
        placement: how much of it; None on the CPU.
        inputs: each input, by name.
        outputs: each output, by name.

    Raises:
        BundleError: the graph cannot be loaded.
        DeviceError: the device is not there, or ONNX Runtime would silently compute elsewhere.
    """

    def __init__(self, model: bytes, source: str, *, threads: int = 0, device: str = "cpu") -> None:
        self._source = source
        self.placement: Placement | None = None
        *wanted, last = candidates(device)
        if not any(self._opens(model, one, threads) for one in wanted):
            self._open(model, last, threads)

    def _opens(self, model: bytes, device: Device, threads: int) -> bool:
        try:
            self._open(model, device, threads)
        except DeviceError as error:
            _tell_once(str(error))
            return False
        return True

    def _open(self, model: bytes, device: Device, threads: int) -> None:
        self.device = device
        self._turn = threading.Lock() if device.one_at_a_time else nullcontext()
        if device == CPU:
            self._session = self._made(model, device, threads, _options(threads))
        else:
            import tempfile  # late: a start on the CPU does without it

            with tempfile.TemporaryDirectory(prefix="mien") as folder:
                options = _options(threads)
                options.enable_profiling, options.profile_file_prefix = True, str(Path(folder) / "run")
                options.enable_mem_pattern = not device.one_at_a_time
                self._session = self._made(model, device, threads, options)
                self.placement = self._placed(device)
        self.inputs = _described(self._session.get_inputs())
        self.outputs = _described(self._session.get_outputs())

    def _made(self, model: bytes, device: Device, threads: int, options: Any) -> Any:
        provider = device.kind.provider
        if device != CPU:
            _prepare(device)
        providers = [(provider, device.options(threads))]
        try:
            session = ort.InferenceSession(model, options, providers=providers)
        except Exception as error:  # onnxruntime's errors share no public base class
            if device != CPU:
                raise DeviceError(
                    f"device {device}: {self._source} cannot be loaded there ({_first_line(error)})"
                ) from error
            raise BundleError(f"{self._source}: ONNX Runtime cannot load this graph ({_first_line(error)})") from error
        if session.get_providers()[0] != provider:  # ONNX Runtime falls back without a word
            raise DeviceError(f"device {device}: ONNX Runtime could not start it; it needs {device.kind.needs}")
        return session

    def _placed(self, device: Device) -> Placement:
        """Run once, and see where: a provider may be there, and yet leave every operation to the CPU.

        Raises:
            DeviceError: it leaves all of them, or cannot run the graph.
        """
        inputs = {t.name: _example(t) for t in self._session.get_inputs()}
        try:
            self._session.run(None, inputs)
        except Exception as error:
            raise DeviceError(f"device {device}: {self._source} cannot be run there ({_first_line(error)})") from error
        events = json.loads(Path(self._session.end_profiling()).read_text(encoding="utf-8"))
        nodes = {e["name"]: e["args"]["provider"] for e in events if "provider" in e.get("args", {})}
        there = sum(provider == device.kind.provider for provider in nodes.values())
        if not there:
            raise DeviceError(
                f"device {device}: ONNX Runtime left all {len(nodes)} operations of {self._source} to the CPU; "
                f"it needs {device.kind.needs}"
            )
        return Placement(device, there, len(nodes))

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """The named outputs for these inputs.

        Raises:
            BundleError: the graph cannot be run on them.
        """
        try:
            with self._turn:
                results: list[Tensor] = self._session.run(list(outputs), dict(inputs))
        except Exception as error:  # onnxruntime's errors share no public base class
            raise BundleError(f"{self._source}: ONNX Runtime cannot run this graph ({_first_line(error)})") from error
        return [np.asarray(result) for result in results]


def _prepare(device: Device) -> None:
    """Keep ONNX Runtime's own logs quiet, since our errors say the same; load the CUDA that pip has brought."""
    ort.set_default_logger_severity(4)
    if device.name == "cuda" and hasattr(ort, "preload_dlls"):
        with redirect_stdout(None):  # it prints what it misses
            ort.preload_dlls()


@cache
def _tell_once(problem: str) -> None:
    _log.warning("%s; the processor computes instead", problem)


def _options(threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry(
        "session.intra_op.allow_spinning", "0"
    )  # waiting threads leave their cores to others
    return options


def _described(tensors: Any) -> dict[str, TensorInfo]:
    return {t.name: TensorInfo(_DTYPES.get(str(t.type), str(t.type)), tuple(t.shape)) for t in tensors}


def _example(tensor: Any) -> Tensor:
    """Zeros; a side that may vary is 1 if it counts pictures, and else 64."""
    first, *others = (side if isinstance(side, int) and side > 0 else None for side in tensor.shape)
    return np.zeros((first or 1, *(side or 64 for side in others)), _DTYPES.get(str(tensor.type), "float32"))


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
