"""The recipes that mien brings along: TOML files, found without importing anything heavy."""

from __future__ import annotations

from importlib import resources
from pathlib import Path


def bundled_recipes() -> dict[str, Path]:
    """The recipes that mien brings along, by name: for a first try, for each bundled model, and for FER+'s classes.

    `large-1` to `large-5` are the trainings, in their order, that led to the bundled model `large`.
    """
    folder = Path(str(resources.files("mien_train") / "recipes"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}
