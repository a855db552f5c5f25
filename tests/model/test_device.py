"""What was asked for is what runs, or an error names the remedy. Stand-ins play devices that are not here."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from mien import Recognizer
from mien.detect import make_detector, yunet
from mien.errors import DeviceError
from mien.model.bundle import Bundle, write_bundle
from mien.model.device import CPU, DEVICES, KINDS, Device, candidates, parse_device
from mien.model.graph import Graph
from mien.model.session import Session
from mien.model.verify import verify_bundle
from tests.models import tiny_golden, tiny_manifest, tiny_onnx

InferenceSession = onnxruntime.InferenceSession


class Pretender:
    """A session on the CPU that claims the provider asked for: so did OpenVINO's for device_type AUTO."""

    asked: Any = None

    def __init__(self, model: bytes, options: Any, providers: Any) -> None:
        type(self).asked = providers
        self._names = [name for name, _ in providers]
        self._real = InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def get_providers(self) -> list[str]:
        return [*self._names, "CPUExecutionProvider"]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class Worker(Pretender):
    """One whose profile says that the provider did the work."""

    def end_profiling(self) -> str:
        path = Path(self._real.end_profiling())
        path.write_text(path.read_text().replace("CPUExecutionProvider", self._names[0]))
        return str(path)


class Faller(Pretender):
    """One that falls back to the CPU without a word, as CUDA's does where its libraries are missing."""

    def get_providers(self) -> list[str]:
        return ["CPUExecutionProvider"]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, type[Pretender]], None]]:
    """Put in the place of ONNX Runtime one that has this device."""

    def install(name: str, session: type[Pretender]) -> None:
        found = [KINDS[name].provider, "CPUExecutionProvider"]
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: found)

        def made(model: bytes, options: Any, providers: Any) -> Any:
            real = providers[0][0] == "CPUExecutionProvider"
            return (InferenceSession if real else session)(model, options, providers=providers)

        monkeypatch.setattr(onnxruntime, "InferenceSession", made)
        yunet._load.cache_clear()  # one graph serves a process, and here the devices change

    yield install
    yunet._load.cache_clear()


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("cpu", CPU), ("auto", None), ("CUDA", Device("cuda")), ("cuda:", Device("cuda")),
        ("cuda:1", Device("cuda", "1")), ("openvino:gpu", Device("openvino", "GPU")),
        ("directml:0", Device("directml", "0")),
    ],
)  # fmt: skip
def test_names_of_devices(text: str, device: Device | None):
    assert parse_device(text) == device


@pytest.mark.parametrize("text", ["gpu", "", "cuda:first", "cpu:1", "coreml:2"])
def test_other_names_are_refused(text: str):
    with pytest.raises(DeviceError, match=r"device .*(did you mean|expected)"):
        parse_device(text)


@pytest.mark.parametrize("name", sorted(set(DEVICES) - {"auto", "cpu"}))
def test_what_is_not_installed_is_named_with_its_package(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(DeviceError, match=f"pip install {KINDS[name].package}"):
        candidates(name)


def test_auto_takes_the_processor_where_nothing_else_is(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    session = Session(tiny_bundle, 1, device="auto")
    assert session.placement is None


def test_a_device_that_works_is_used_and_counted(
    installed: Callable[[str, type[Pretender]], None], tiny_bundle: Bundle
):
    installed("openvino", Worker)
    graph = Graph(tiny_onnx(), "tiny", threads=1, device="openvino")
    assert str(graph.device) == "openvino"
    assert graph.placement
    assert graph.placement.there == graph.placement.operations > 0
    (name, options), = Worker.asked  # fmt: skip
    assert name == "OpenVINOExecutionProvider"
    assert options["num_of_threads"] == "1"
    checks = {check.name: check for check in verify_bundle(tiny_bundle, 1, "openvino")}
    assert checks["device"].detail.endswith("operations on openvino")
    assert checks["golden vectors"].passed


def test_a_device_that_computes_otherwise_is_told_with_what_to_do(
    installed: Callable[[str, type[Pretender]], None], tmp_path: Path
):
    installed("openvino", Worker)
    golden = tiny_golden()
    golden.probabilities[0] = golden.probabilities[0][::-1]
    bundle = write_bundle(tmp_path / "wrong.onnx", tiny_onnx(), tiny_manifest(), golden)
    (check,) = [check for check in verify_bundle(bundle, 1, "openvino") if check.name == "golden vectors"]
    assert check.passed is False
    assert "openvino computes this model otherwise: use cpu, or a model in floats (large)" in check.detail
    assert "otherwise" not in verify_bundle(bundle, 1)[-1].detail


def test_a_device_that_computes_nothing_is_an_error(installed: Callable[[str, type[Pretender]], None]):
    installed("openvino", Pretender)
    with pytest.raises(DeviceError, match=r"left all \d operations of tiny to the CPU"):
        Graph(tiny_onnx(), "tiny", device="openvino")


def test_a_silent_fall_back_is_an_error(installed: Callable[[str, type[Pretender]], None]):
    installed("cuda", Faller)
    with pytest.raises(DeviceError, match="could not start it; it needs an NVIDIA card"):
        Graph(tiny_onnx(), "tiny", device="cuda:1")


def test_a_graph_that_a_device_refuses_is_an_error(installed: Callable[[str, type[Pretender]], None]):
    class Refuser(Pretender):
        def __init__(self, model: bytes, options: Any, providers: Any) -> None:
            raise RuntimeError("no kernel\nfor this")

    installed("directml", Refuser)
    with pytest.raises(DeviceError, match=r"device directml: tiny cannot be loaded there \(no kernel\)"):
        Graph(tiny_onnx(), "tiny", device="directml")


def test_auto_goes_on_without_a_card_that_does_not_start(
    installed: Callable[[str, type[Pretender]], None], caplog: pytest.LogCaptureFixture
):
    installed("cuda", Faller)
    with caplog.at_level(logging.WARNING, "mien"):
        graph = Graph(tiny_onnx(), "tiny", threads=1, device="auto")
    assert graph.device == CPU
    (found,) = graph.run(["logits"], {"faces": np.zeros((2, 48, 48, 1), np.uint8)})
    assert found.shape == (2, 3)


def test_the_detector_computes_on_the_device_too(installed: Callable[[str, type[Pretender]], None]):
    installed("cuda", Worker)
    assert make_detector("yunet", device="cuda").detect(np.zeros((48, 48, 3), np.uint8)) == []
    (name, options), = Worker.asked  # fmt: skip
    assert (name, options["use_tf32"]) == ("CUDAExecutionProvider", "0")
    installed("cuda", Faller)
    with pytest.raises(DeviceError, match="onnxruntime-gpu"):
        make_detector("yunet", device="cuda")


def test_a_pickled_recognizer_keeps_its_device(tiny_bundle: Bundle):
    again = pickle.loads(pickle.dumps(Recognizer(tiny_bundle.path, "whole", threads=1, device="cpu")))
    assert again.session.placement is None
    assert again._made_of[-2] == "cpu"


@pytest.mark.parametrize("command", [["predict"], ["verify"], ["evaluate"], ["live"], ["serve", "--model"]])
def test_every_command_names_the_package(
    command: list[str], group: Path, tmp_path: Path, mien: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    (tmp_path / "happy").mkdir()
    (tmp_path / "happy" / "one.jpg").write_bytes(group.read_bytes())
    what = {"predict": group, "evaluate": tmp_path, "live": "clip.mp4"}.get(command[0], "default")
    code, _, err = mien(*command, what, "--device", "directml")
    assert code == 2
    assert "pip install onnxruntime-directml" in err
