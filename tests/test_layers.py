"""Who may import whom. The order below is the architecture; an upward edge fails here."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"

# Packages from the ground up: a module imports from its own package and from lines above it, and from nowhere else.
RUNTIME = """
errors _version records timing progress folders signals printable
locks
files
checked_json
geometry imaging opencv
media
model
detect
temporal
pipeline
output
batch live
run
dataset
measure
audit
report
registry
web
serve
distributed
cli
__main__
"""
TRAINING = """
recipes
recipe
data
networks
run
bundles
tuning
cli
__main__
"""
# Training meets the runtime in the contract and in what both must do alike; only its commands use the command line.
TRAINING_MAY_IMPORT = {
    "_version", "dataset", "detect", "errors", "files", "geometry", "imaging", "measure", "media", "model", "output",
    "progress", "records", "report", "signals", "locks", "printable", "checked_json",
}  # fmt: skip
HEAVY = {"torch", "onnx", "onnxscript", "matplotlib", "sklearn", "scipy", "pandas", "optuna", "sqlalchemy"}


def imports(path: Path) -> set[str]:
    """Every dotted module that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            whole = node.module in {"mien", "mien_train"}
            found |= {f"{node.module}.{alias.name}" for alias in node.names} if whole else {str(node.module)}
    return found


def level_of(package: str, order: str) -> int:
    levels = [line.split() for line in order.split("\n") if line]
    assert any(package in level for level in levels), f"{package} has no place in the architecture: give it one"
    return next(number for number, level in enumerate(levels) if package in level)


def files(package: str) -> list[Path]:
    return sorted((SRC / package).rglob("*.py"))


@pytest.mark.parametrize(("package", "order"), [("mien", RUNTIME), ("mien_train", TRAINING)])
def test_no_module_reaches_upward_or_sideways(package: str, order: str):
    for path in files(package):
        own = path.relative_to(SRC / package).with_suffix("").parts[0]
        if own == "__init__":
            continue  # the public names: imports everything, lazily
        for module in imports(path):
            if module.split(".")[0] == package and "." in module and (other := module.split(".")[1]) != own:
                reach = level_of(other, order) < level_of(own, order)
                assert reach or {own, other} <= {"_version", "errors", "records"}, f"{path} imports {module}"


@pytest.mark.parametrize("path", files("mien"), ids=lambda p: str(p.relative_to(SRC)))
def test_the_runtime_never_imports_training(path: Path):
    roots = {module.split(".")[0] for module in imports(path)}
    optional = {"sqlalchemy"} if path.parent.name == "registry" else set()
    assert not roots & (HEAVY - optional | {"mien_train"})


@pytest.mark.parametrize("path", files("mien_train"), ids=lambda p: str(p.relative_to(SRC)))
def test_training_uses_only_what_both_must_do_alike(path: Path):
    used = {module.split(".")[1] for module in imports(path) if module.startswith("mien.")}
    command = path.parent.name == "cli" or path.name == "__main__.py"
    assert used <= TRAINING_MAY_IMPORT | ({"cli"} if command else set())


def test_importing_mien_imports_nothing_heavy():
    code = "import sys, mien; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "cv2", "onnxruntime", "PIL", "pydantic", "torch", "typer"} & set(loaded)


def test_predicting_does_not_import_torch(astronaut: Path):
    code = (
        f"import sys; from mien import Recognizer; Recognizer().read({str(astronaut)!r}); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("False")
