"""`--answer` and `--prior` in every command that measures, serves or shows: they change what is said, and are named."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.model.bundle import Bundle, write_bundle
from mien.web import site
from tests.models import tiny_manifest, two_answers, two_answers_golden, two_answers_onnx

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def both(tmp_path: Path) -> Bundle:
    """Two answers, each the contrary of the other; `people` was trained on nearly nothing but happy faces."""
    manifest = tiny_manifest().with_answers(two_answers({"happy": 0.98, "neutral": 0.01, "sad": 0.01}))
    return write_bundle(tmp_path / "both.onnx", two_answers_onnx(), manifest, two_answers_golden())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Bright faces are happy, dark ones sad: what `people` says of them."""
    rng = np.random.default_rng(0)
    for label, level in (("happy", 225), ("sad", 30)):
        folder = tmp_path / "data/validation" / label
        folder.mkdir(parents=True)
        for number in range(12):
            pixels = np.clip(rng.normal(level, 12, (48, 48)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "data"


def test_comparing_one_model_with_two_priors(both: Bundle, data: Path, mien: Run, tmp_path: Path):
    out = tmp_path / "c.json"
    code, text, _ = mien("compare", both.path, both.path, data, "--prior-b", "even", "--json", out)
    assert code == 0
    assert "tiny (people)  " in text
    assert "tiny (people, prior even)" in text
    found = json.loads(out.read_text())
    assert (found["a"]["prior"], found["b"]["prior"], found["same_model"]) == ("training", "even", False)
    assert found["a"]["accuracy"]["value"] == 1  # the bright are happy
    assert found["b"]["accuracy"]["value"] < found["a"]["accuracy"]["value"]  # which is less than was expected: sad
    _, text, _ = mien("compare", both.path, both.path, data, "--answer-b", "fer2013", "--prior-strength", "0.5")
    assert "only A 24" in text


def test_checking_labels_by_the_answer_that_is_wanted(both: Bundle, data: Path, mien: Run):
    pytest.importorskip("cleanlab")
    _, text, _ = mien(
        "audit", data, "--faces", "none", "--model", both.path, "--prior", "even", "--prior-strength", "0.2"
    )
    assert "by model tiny (people, prior even, strength 0.2)" in text
    _, text, _ = mien("audit", data, "--faces", "none", "--model", both.path, "--answer", "fer2013")
    assert "by model tiny (fer2013)" in text


def test_data_without_votes_are_compared_with_the_labels(both: Bundle, data: Path, mien: Run):
    code, text, _ = mien("evaluate", data, "--model", both.path)
    assert code == 0
    assert "No picture has two votes for these classes: the answer 'people' is compared with the labels" in text
    _, text, _ = mien("evaluate", data, "--model", both.path, "--answer", "fer2013")
    assert "no votes" not in text


@pytest.mark.parametrize(
    "command",
    [
        ("compare", "{model}", "{model}", "{data}"),
        ("audit", "{data}", "--model", "{model}", "--faces", "none"),
        ("evaluate", "{data}", "--model", "{model}"),
        ("predict", "{data}", "--model", "{model}", "--detector", "whole"),
        ("serve", "--model", "{model}", "--port", "0"),
    ],
    ids=lambda command: command[0],
)
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (("--answer", "labels"), "people, fer2013"),
        (("--prior", "{folder}/lacking.json"), "found no sad"),
        (("--prior", "{folder}/negative.json"), "expected shares of 0 or more"),
        (("--prior", "{folder}/nothing.json"), "sum to more than 0"),
        (("--answer", "fer2013", "--prior", "even"), "does not say how common each class was"),
    ],
    ids=lambda value: value[-1] if isinstance(value, tuple) else "",
)
def test_what_makes_no_sense_is_refused_by_every_command(
    command: tuple[str, ...], wrong: tuple[str, ...], message: str, both: Bundle, data: Path, mien: Run, tmp_path: Path
):
    if command[0] == "serve":
        pytest.importorskip("uvicorn", reason="needs the extra serve")
    for name, shares in (("lacking", (1, 1)), ("negative", (1, 1, -1)), ("nothing", (0, 0, 0))):
        text = json.dumps(dict(zip(("happy", "neutral", "sad"), shares, strict=False)))
        (tmp_path / f"{name}.json").write_text(text)
    places = {"model": both.path, "data": data, "folder": tmp_path}
    code, _, err = mien(*(part.format(**places) for part in (*command, *wrong)))
    assert code == 2
    assert message in err.replace("\n", " ")


@pytest.mark.skipif(not shutil.which("node"), reason="needs Node.js")
def test_the_page_expects_the_mix_that_python_expects():
    script = (
        'import { withPrior } from "./src/mien/web/words.js";'
        "console.log(JSON.stringify([withPrior([0.5, 0.3, 0.2], [1, 0, 4]), withPrior([0.5, 0.5], null)]))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        ["node", "--input-type=module", "-e", script], capture_output=True, text=True, check=True, cwd=root
    )
    shifted, same = json.loads(done.stdout)
    assert shifted == pytest.approx([0.5 / 1.3, 0, 0.8 / 1.3])
    assert same == [0.5, 0.5]


@pytest.mark.skipif(not site.has_device_mode(), reason="needs ONNX Runtime Web (make web)")
def test_a_page_without_a_server_gives_the_answer_that_is_wanted(mien: Run, tmp_path: Path):
    given = ("--answer", "fer2013", "--prior", "even")
    assert mien("web", tmp_path / "out", *given)[0] == 0
    model = json.loads((tmp_path / "out/site.json").read_text(encoding="utf-8"))["device"]["model"]
    first, other = model["answers"]
    assert (first["name"], first["output"], first["prior"]) == ("fer2013", "fer2013_probabilities", "even")
    assert len(first["factors"]) == 7
    assert min(first["factors"]) > 0
    assert (first["factors"], other["name"]) == (first["even"], "people")
