"""A registry in a folder of the test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mien.model.bundle import Bundle, write_bundle
from mien.registry import Registry, open_registry
from tests.models import tiny_golden, tiny_manifest, tiny_onnx


@pytest.fixture
def make_bundle(tmp_path: Path) -> Callable[..., Bundle]:
    """Write a sealed bundle; a different `created` makes different bytes."""

    def make(created: str = "", **changes: object) -> Bundle:
        manifest = tiny_manifest(created=created, **changes)
        return write_bundle(tmp_path / f"bundle-{created or 'first'}.onnx", tiny_onnx(), manifest, tiny_golden())

    return make


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    monkeypatch.setenv("MIEN_REGISTRY", str(tmp_path / "registry"))
    opened = open_registry()
    yield opened
    opened.close()
