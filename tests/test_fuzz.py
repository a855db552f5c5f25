"""A short run of `benchmarks/fuzz.py`, in this process: the same files every time."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("av")
pytest.importorskip("mien_train.recipe")

SCRIPT = Path(__file__).parents[1] / "benchmarks/fuzz.py"


@pytest.fixture(scope="module")
def fuzz() -> Any:
    spec = spec_from_file_location("fuzz", SCRIPT)
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    sys.modules["fuzz"] = module  # its dataclasses and processes look there
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("pictures", 120), ("videos", 8), ("archives", 30), ("bundles", 20), ("manifests", 20), ("tables", 20),
        ("recipes", 40),
    ],
)  # fmt: skip
def test_damaged_files_are_read_or_refused(fuzz: Any, kind: str, count: int, tmp_path: Path):
    ended = [fuzz.attempt(kind, number, 7, tmp_path) for number in range(count)]
    assert [(how, what) for how, what in ended if how not in ("read", "refused")] == []
    assert any(how == "refused" for how, _ in ended)
