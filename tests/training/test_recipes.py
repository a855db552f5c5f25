"""The recipes that mien brings along, and those of the log's attempts."""

from __future__ import annotations

from pathlib import Path

import pytest

from mien.errors import TrainingError

pytest.importorskip("torch")

from mien_train.recipe import bundled_recipes, load_recipe

ROOT = Path(__file__).parents[2]


def test_recipes_are_found_by_name():
    assert {"default", "ferplus", "quick"} <= bundled_recipes().keys()
    for name, path in bundled_recipes().items():
        assert load_recipe(Path(name)) == load_recipe(path)


def test_a_file_of_that_name_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "quick").write_text("epochs = 7\n")
    monkeypatch.chdir(tmp_path)
    assert load_recipe(Path("quick")).epochs == 7


def test_an_unknown_name_is_told_with_those_there_are():
    with pytest.raises(TrainingError, match=r"fancy: cannot read the recipe .*default, ferplus"):
        load_recipe(Path("fancy"))


@pytest.mark.parametrize("path", sorted((ROOT / "lab").glob("*.toml")), ids=lambda p: p.stem)
def test_every_attempt_can_be_read(path: Path):
    assert load_recipe(path).epochs > 0
