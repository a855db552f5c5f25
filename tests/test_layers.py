"""Who may import whom. The order below is the architecture; an upward edge fails here."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"

# A module may import from its own group and from groups above it in this list.
LAYERS = [
    {"errors", "_version"},
    {"clock", "outfile", "records", "study"},
    {"geometry", "journal", "lettering", "manifest", "onnxfile", "rows"},
    {"corrupt", "crop", "fingerprint", "intervals", "media", "metrics", "ranking"},
    {"blur", "bundle", "detect", "dataset", "draw", "episodes", "film", "results", "sound", "steady", "track"},
    {"annotators", "paired", "scores", "session"},
    {"classify", "elan", "timeline", "verify"},
    {"gallery"},
    {"pipeline"},
    {"live", "volume"},
    {"evaluate"},
    {"audit", "compare"},
    {"report"},
    {"cli"},
    {"__main__"},
]
TRAINING_MAY_IMPORT = {
    "_version", "bundle", "crop", "dataset", "detect", "errors", "fingerprint", "geometry", "intervals", "manifest",
    "media", "metrics", "outfile", "records", "session", "study", "verify",
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
            found |= (
                {f"{node.module}.{alias.name}" for alias in node.names} if node.module == "mien" else {str(node.module)}
            )
    return found


def group_of(module: str) -> int:
    name = module.split(".")[1] if "." in module else "errors"
    return next(i for i, layer in enumerate(LAYERS) if name in layer)


def files(package: str) -> list[Path]:
    return sorted((SRC / package).rglob("*.py"))


@pytest.mark.parametrize("path", files("mien"), ids=lambda p: str(p.relative_to(SRC)))
def test_no_module_of_the_runtime_reaches_upward(path: Path):
    if path == SRC / "mien/__init__.py":
        return  # the public names: imports everything, lazily
    own = group_of("mien." + path.relative_to(SRC / "mien").with_suffix("").parts[0])
    for module in imports(path):
        if module.split(".")[0] == "mien":
            assert group_of(module) <= own, f"{path.name} imports {module}, which stands above it"


@pytest.mark.parametrize("path", files("mien"), ids=lambda p: str(p.relative_to(SRC)))
def test_the_runtime_never_imports_training(path: Path):
    roots = {module.split(".")[0] for module in imports(path)}
    assert not roots & (HEAVY | {"mien_train"})


@pytest.mark.parametrize("path", files("mien_train"), ids=lambda p: str(p.relative_to(SRC)))
def test_training_uses_only_the_contract_of_the_runtime(path: Path):
    used = {module.split(".")[1] for module in imports(path) if module.startswith("mien.")}
    assert used <= TRAINING_MAY_IMPORT | ({"cli"} if path.name == "__main__.py" else set())  # a way in, not a part


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
