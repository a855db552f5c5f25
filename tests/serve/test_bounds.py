"""A graph without end reaches no server and no registry: a process of its own runs it, and is ended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from mien.errors import BundleError
from mien.model import verify_in_process
from mien.model.bundle import Bundle, write_bundle
from mien.registry import check_candidate
from tests.models import endless_onnx, tiny_golden, tiny_manifest
from tests.serve.conftest import Running

Start = Callable[..., Running]


@pytest.fixture
def endless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    monkeypatch.setattr(verify_in_process, "TIME_S", 1.0)
    return write_bundle(tmp_path / "endless.onnx", endless_onnx(), tiny_manifest(created="endless"), tiny_golden())


def test_a_server_does_not_begin_with_it(endless: Bundle, start_server: Start):
    with pytest.raises(BundleError, match="does not end within 1 s"):
        start_server(models=(str(endless.path),))


def test_the_admin_routes_refuse_it(endless: Bundle, idle_admin: httpx.Client):
    answer = idle_admin.post("/v1/models", content=endless.model)
    assert answer.status_code == 422
    assert "does not end within 1 s" in answer.json()["error"]


def test_it_is_no_candidate(endless: Bundle):
    (outcome,) = check_candidate(endless, None)
    assert outcome.passed is False
    assert "does not end within 1 s" in outcome.detail
