"""The recipes that mien brings along, and those of the log's attempts."""

from __future__ import annotations

from pathlib import Path

import pytest

from mien.errors import TrainingError

pytest.importorskip("torch")

from mien_train.recipe import load_recipe, parse_recipe
from mien_train.recipes import bundled_recipes

ROOT = Path(__file__).parents[2]


def test_recipes_are_found_by_name():
    assert {"default", "ferplus", "quick"} <= bundled_recipes().keys()
    for name, path in bundled_recipes().items():
        assert load_recipe(Path(name)) == load_recipe(path)


def test_the_help_names_them_all_and_what_is_trained_without_one(mien):
    code, out, _ = mien("train", "--help")
    shown = " ".join(out.replace("\u2502", " ").split())
    assert code == 0
    assert ", ".join(bundled_recipes()) in shown
    assert "network of large-1" in shown
    assert parse_recipe({}, "none").network == load_recipe(Path("large-1")).network


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


def test_a_base_gives_what_the_file_leaves_out(tmp_path: Path):
    (tmp_path / "mine.toml").write_text('base = "default"\nepochs = 7\n\n[augment]\nnoise = 0.01\n')
    mine, default = load_recipe(tmp_path / "mine.toml"), load_recipe(Path("default"))
    assert (mine.epochs, mine.augment.noise) == (7, 0.01)
    changed = {"epochs": 7, "augment": default.augment.model_copy(update={"noise": 0.01})}
    assert mine == default.model_copy(update=changed)


def test_a_base_may_be_a_file_beside_the_recipe_and_have_a_base_itself(tmp_path: Path):
    (tmp_path / "quick").write_text('base = "ferplus"\nseed = 5\nepochs = 6\n')
    (tmp_path / "mine.toml").write_text(
        'base = "quick"\nepochs = 7\nnetwork.widths = [16, 32]\nnetwork.blocks = [1, 1]\n'
    )
    mine = load_recipe(tmp_path / "mine.toml")
    assert (mine.epochs, mine.seed, mine.network.widths, mine.network.attention) == (7, 5, (16, 32), "se")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('base = "fancy"', r"mine.toml: base 'fancy': cannot read the recipe .*ferplus"),
        ("base = 3", "base: expected the name of a recipe or of a file beside this one, found 3"),
        ('base = "other.toml"', r"in a circle: other.toml, mine.toml"),
        ('base = "mine.toml"', r"in a circle: mine.toml, mine.toml"),
        ('base = "default"\nepoch = 3', "unknown field 'epoch'; did you mean 'epochs'"),
    ],
)
def test_a_base_that_cannot_be_is_refused(text: str, message: str, tmp_path: Path):
    (tmp_path / "mine.toml").write_text(text)
    (tmp_path / "other.toml").write_text('base = "mine.toml"')
    with pytest.raises(TrainingError, match=message):
        load_recipe(tmp_path / "mine.toml")
