"""Fixtures shared by the tests."""

from __future__ import annotations

import ast
import sys
import threading
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from mien.cli import main
from mien.model.bundle import Bundle, write_bundle
from tests.models import tiny_golden, tiny_manifest, tiny_onnx

# A busy machine is not a failure, and a failure must be seen again: no deadlines, the same examples every time.
settings.register_profile("mien", deadline=None, derandomize=True)
settings.load_profile("mien")

if sys.version_info[:2] == (3, 11):
    # There, all threads count the depth of a syntax tree together (CPython issue 106905): pytest, which parses a test
    # for its report while a server's thread formats a traceback, ends with a SystemError, and the whole run with it.
    _parse, _parsing = ast.parse, threading.RLock()

    def _one_at_a_time(*arguments: Any, **named: Any) -> Any:
        with _parsing:
            return _parse(*arguments, **named)

    ast.parse = _one_at_a_time


@pytest.fixture
def tiny_bundle(tmp_path: Path) -> Bundle:
    """A sealed bundle whose answers are known exactly; its file lies in `tmp_path`."""
    return write_bundle(tmp_path / "tiny.onnx", tiny_onnx(), tiny_manifest(), tiny_golden())


@pytest.fixture(scope="session")
def astronaut() -> Path:
    """The bundled portrait: one face."""
    return Path(str(resources.files("mien") / "samples/astronaut.jpg"))


@pytest.fixture(scope="session")
def group() -> Path:
    """The bundled group picture: three faces."""
    return Path(str(resources.files("mien") / "samples/group.jpg"))


@pytest.fixture
def mien(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Call `mien ARGS`; returns exit code, stdout, stderr."""

    def call(*args: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mien", *map(str, args)])
        code: object = 0
        try:
            main()
        except SystemExit as done:
            code = done.code or 0
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return int(str(code)), captured.out, captured.err

    return call


@pytest.fixture
def run(mien: Callable[..., tuple[int, str, str]]) -> Callable[..., tuple[int, str, str]]:
    """`mien`, under the name that a test of one command gives its own."""
    return mien


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """PyTorch computes on one thread while a module's tests run."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
