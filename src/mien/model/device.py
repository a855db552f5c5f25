"""What computes: a device's name -> ONNX Runtime's execution provider."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from mien.errors import DeviceError

DEVICES = ("auto", "cpu", "cuda", "coreml", "directml", "openvino")
"""Names of devices. `cuda:1`, `directml:1` and `openvino:GPU` name one of several."""

AUTOMATIC = ("cuda", "directml")
"""What `auto` tries before the processor: devices whose package somebody installs on purpose, for a graphics card."""


@dataclass(frozen=True, slots=True)
class DeviceKind:
    """How a device is reached.

    `package` is what to install, `needs` what else must be there, `which` the provider's option that chooses one of
    several devices.
    """

    provider: str
    package: str
    needs: str
    which: str = ""


KINDS = {
    "cpu": DeviceKind("CPUExecutionProvider", "onnxruntime", "nothing else"),
    "cuda": DeviceKind(
        "CUDAExecutionProvider",
        "onnxruntime-gpu",
        "an NVIDIA card with its driver, CUDA and cuDNN; pip install 'onnxruntime-gpu[cuda,cudnn]' brings the latter",
        "device_id",
    ),
    "coreml": DeviceKind("CoreMLExecutionProvider", "onnxruntime", "macOS"),
    "directml": DeviceKind("DmlExecutionProvider", "onnxruntime-directml", "Windows with DirectX 12", "device_id"),
    "openvino": DeviceKind(
        "OpenVINOExecutionProvider", "onnxruntime-openvino", "the driver of the Intel device asked for", "device_type"
    ),
}


@dataclass(frozen=True, slots=True)
class Device:
    """A device that was asked for: one of `DEVICES` but `auto`, and which one of several ("" for the first)."""

    name: str = "cpu"
    which: str = ""

    @property
    def kind(self) -> DeviceKind:
        """How it is reached."""
        return KINDS[self.name]

    @property
    def one_at_a_time(self) -> bool:
        """Whether a graph there takes one call at a time: DirectML's rule."""
        return self.name == "directml"

    def options(self, threads: int) -> dict[str, str]:
        """The provider's options for full precision, so that the golden vectors hold."""
        chosen = {self.kind.which: self.which} if self.which else {}
        if self.name == "cuda":
            return {"use_tf32": "0", **chosen}
        if self.name == "openvino":
            counted = {"num_of_threads": str(threads)} if threads else {}
            return {"device_type": "CPU", "precision": "ACCURACY", **counted, **chosen}
        return chosen

    def __str__(self) -> str:
        return f"{self.name}:{self.which}" if self.which else self.name


CPU = Device()


def parse_device(text: str) -> Device | None:
    """The device of a name; None for `auto`.

    Raises:
        DeviceError: there is no such device.
    """
    name, _, which = text.partition(":")
    name = name.lower()
    if name not in DEVICES:
        nearest = difflib.get_close_matches(name, DEVICES, 1, 0)[0]
        raise DeviceError(f"unknown device {text!r}: did you mean {nearest!r}? There are {', '.join(DEVICES)}")
    option = KINDS[name].which if name in KINDS else ""
    if which and not (which.isdecimal() if option == "device_id" else option):
        numbered = f"a number, as in {name}:1" if option else f"{name} alone: there are no several"
        raise DeviceError(f"device {text!r}: expected {numbered}")
    return None if name == "auto" else Device(name, which.upper() if option == "device_type" else which)


def candidates(text: str) -> tuple[Device, ...]:
    """The devices to try for a name, the wanted one first; several for `auto` alone.

    Raises:
        DeviceError: there is no such device, or the ONNX Runtime that is installed cannot use it.
    """
    ort: Any = import_module("onnxruntime")
    present = set(ort.get_available_providers())
    device = parse_device(text)
    if device is None:
        return (*(Device(name) for name in AUTOMATIC if KINDS[name].provider in present), CPU)
    if device.kind.provider not in present:
        raise DeviceError(f"device {device}: {_absence(device)}")
    return (device,)


def _absence(device: Device) -> str:
    kind = device.kind
    if device.name == "coreml":
        return "the ONNX Runtime that is installed has no CoreML; only that for macOS does (pip install onnxruntime)"
    return (
        f"the ONNX Runtime that is installed has no {kind.provider}; pip uninstall onnxruntime, then pip install "
        f"{kind.package} (it needs {kind.needs})"
    )
