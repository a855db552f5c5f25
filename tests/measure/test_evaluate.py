"""A model on labeled data: numbers, the course's lines, files, and what is refused."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics as reference

from mien.dataset import exclude, match_classes, open_dataset, training_split
from mien.detect import StubDetector
from mien.errors import DatasetError
from mien.measure.corruptions import CORRUPTIONS, STRENGTHS, corrupt
from mien.measure.evaluate import evaluate
from mien.model.bundle import Bundle
from mien.records import Face
from mien.report import course_lines, to_html, to_json, to_text
from tests.models import CLASSES, SLOPE
from tests.progress import Told

Run = Callable[..., tuple[int, str, str]]
LEVELS = {"happy": (250, 240, 90, 220), "neutral": (127, 129, 90, 127), "sad": (5, 20, 30, 200, 10)}
"""Brightness of each picture. The tiny model reads bright as happy and dark as sad, and never says neutral."""


def picture(path: Path, level: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((48, 48), level, np.uint8)).save(path)
    return path


def write_csv(path: Path, *rows: list[object]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """13 flat pictures in validation, and a train split that repeats one of them."""
    for label, levels in LEVELS.items():
        for i, level in enumerate(levels):
            picture(tmp_path / f"data/validation/{label}/{i}.png", level)
        picture(tmp_path / f"data/train/{label}/0.bmp", {"happy": 250, "neutral": 77, "sad": 78}[label])
    return tmp_path / "data"


@pytest.fixture
def run(mien: Run) -> Run:
    """Call `mien evaluate ARGS`; returns exit code, stdout, stderr."""
    return partial(mien, "evaluate")


def expected(levels: dict[str, tuple[int, ...]] = LEVELS) -> tuple[np.ndarray, np.ndarray]:
    """Truth, and the tiny model's probabilities worked out by hand."""
    truth = [CLASSES.index(label) for label in sorted(levels) for _ in levels[label]]
    logits = (np.array([v for label in sorted(levels) for v in levels[label]])[:, None] / 255 - 0.5) * SLOPE
    powers = np.exp(logits)
    return np.array(truth), powers / powers.sum(axis=1, keepdims=True)


def test_the_numbers_are_those_of_scikit_learn(tiny_bundle: Bundle, data: Path):
    found = evaluate(tiny_bundle, open_dataset(data, "validation"))
    truth, p = expected()
    np.testing.assert_array_equal(found.truth, truth)
    np.testing.assert_allclose(found.probabilities, p, atol=1e-5)
    said = p.argmax(axis=1)
    scores = found.scores
    np.testing.assert_array_equal(scores.confusion, reference.confusion_matrix(truth, said))
    assert scores.accuracy.value == pytest.approx(reference.accuracy_score(truth, said))
    assert scores.macro_recall.value == pytest.approx(reference.balanced_accuracy_score(truth, said))
    f1 = reference.f1_score(truth, said, average=None, zero_division=np.nan)
    np.testing.assert_allclose([c.f1.value for c in scores.classes], f1)
    assert scores.log_loss == pytest.approx(reference.log_loss(truth, p), abs=1e-4)
    auc = reference.roc_auc_score(truth == 0, p[:, 0])
    assert scores.classes[0].roc_auc == pytest.approx(auc)
    assert scores.confusions(1)[0].truth == "neutral"


def test_the_table_comes_first_and_the_lines_of_the_course_when_asked(tiny_bundle: Bundle, data: Path, run: Run):
    command = (data, "--model", tiny_bundle.path, "--weights", "happy=1,sad=3")
    code, lines, _ = run(*command, "--format", "course")
    assert code == 0
    out = run(*command)[1]
    assert {"precision", "recall", "F1", "support"} <= set(out.splitlines()[0].split())
    assert not set(lines.splitlines()[:2]) & set(out.splitlines())
    truth, p = expected()
    said = p.argmax(axis=1)
    right = [int(((truth == k) & (said == k)).sum()) for k in range(3)]
    predicted = [int((said == k).sum()) for k in range(3)]
    precision = [100 * r / n if n else float("nan") for r, n in zip(right, predicted, strict=True)]
    recall = [100 * right[0] / 4, 100 * right[1] / 4, 100 * right[2] / 5]
    weighted = (recall[0] + 3 * recall[2]) / 4
    accuracy_line, recall_line = lines.splitlines()[:2]
    assert accuracy_line == (
        f"happy:{precision[0]:.2f}%, neutral:{precision[1]:.2f}%, sad:{precision[2]:.2f}%, "
        f"total:{100 * sum(right) / 13:.2f}%"
    )
    assert recall_line == (
        f"happy:{recall[0]:.2f}%, neutral:{recall[1]:.2f}%, sad:{recall[2]:.2f}%, total:{weighted:.2f}%"
    )
    assert "neutral was never predicted: its precision is undefined" in out
    for word in ("precision", "F1", "support", "calibration error", "commonest confusions"):
        assert word in out


def test_json_has_a_schema_and_every_sample(tiny_bundle: Bundle, data: Path, run: Run, tmp_path: Path):
    assert run(data, "--model", tiny_bundle.path, "--json", tmp_path / "deep/e.json")[0] == 0
    document = json.loads((tmp_path / "deep/e.json").read_text())
    assert (document["schema"], document["schema_version"]) == ("mien.evaluation", 1)
    assert len(document["samples"]) == 13
    assert document["scores"]["per_class"]["neutral"]["precision"]["value"] is None
    assert document["classes"] == ["happy", "neutral", "sad"]
    assert document["repeats"]["in_training_split"] == 1
    assert document["samples"][0]["path"] == "validation/happy/0.png"


def test_votes_tell_what_people_saw(tiny_bundle: Bundle, data: Path, run: Run, tmp_path: Path):
    assert evaluate(tiny_bundle, open_dataset(data, "validation")).annotators is None
    chosen = {"happy/0": "5,4,0", "happy/1": "4,5,0", "neutral/0": "3,3,0", "sad/0": "0,0,1", "sad/1": "0,0,0"}
    rows = [f"validation/{name}.png,{votes},9" for name, votes in chosen.items()]
    (data / "votes.csv").write_text("\n".join(["path,happy,neutral,sad,fear", *rows]))
    code, out, _ = run(data, "--model", tiny_bundle.path, "--json", tmp_path / "e.json")
    document = json.loads((tmp_path / "e.json").read_text())
    said = {sample["path"]: sample["predicted"] for sample in document["samples"]}
    people = {
        "happy/0": "happy",
        "happy/1": "neutral",
        "sad/0": "sad",
    }  # the others are even, or have no vote that counts
    answers = {name: said[f"validation/{name}.png"] for name in people}
    found = document["annotators"]
    assert found["pictures"] == 3
    assert found["as_labeled"]["value"] == pytest.approx(2 / 3)
    hits = sum(answers[name] == name.split("/")[0] for name in people)
    assert found["model_as_labeled"]["value"] == pytest.approx(hits / 3)
    assert found["model_as_annotators"]["value"] == pytest.approx(sum(answers[n] == p for n, p in people.items()) / 3)
    assert found["as_labeled"]["low"] < 2 / 3 < found["as_labeled"]["high"]
    assert (code, "On 3 pictures one class has the most of the annotators' votes" in out) == (0, True)


def test_the_page_stands_alone_and_holds_the_numbers(tiny_bundle: Bundle, data: Path):
    found = evaluate(tiny_bundle, open_dataset(data, "validation"), corruptions=True)
    html = to_html(found)
    assert not re.search(r"(?:https?:)?//[a-z]|<script|<link|@import|url\(", html)
    assert len(html) < 3_000_000
    assert f"{found.scores.accuracy.value:.2%}" in html
    for line in course_lines(found.scores):
        assert line in html
    assert html.count("data:image/png;base64,") >= 13
    assert html.count("<svg") == 4
    assert "Under damage" in html


def test_names_cannot_break_the_page(tiny_bundle: Bundle, tmp_path: Path):
    picture(tmp_path / "<b>x</b>/happy/a.png", 10)
    picture(tmp_path / "<b>x</b>/sad/a.png", 10)
    html = to_html(evaluate(tiny_bundle, open_dataset(tmp_path / "<b>x</b>", "validation")))
    assert "<b>x</b>" not in html


def test_repeats_of_the_training_split_are_told_apart(tiny_bundle: Bundle, data: Path):
    found = evaluate(tiny_bundle, open_dataset(data, "validation"), train=training_split(data, "validation"))
    assert found.repeats is not None
    assert found.repeats.count == 1
    right = found.scores.accuracy.value * 13 - 1  # the repeated one, bright and happy, was right
    assert found.repeats.accuracy_without.value == pytest.approx(right / 12)


def test_a_model_of_more_classes_is_measured_on_the_shared_ones(tiny_bundle: Bundle, tmp_path: Path):
    for label in ("Happiness", "sad"):
        for i, level in enumerate((10, 250)):
            picture(tmp_path / f"d/{label}/{i}.png", level)
    found = evaluate(tiny_bundle, open_dataset(tmp_path / "d", "test"))
    assert found.match.classes == ("happy", "sad")
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)
    assert "restricted to happy, sad and renormalized" in to_text(found)


def test_classes_are_matched_by_name():
    match = match_classes(["sadness", "joy", "fear"], ["happy", "sad"])
    assert (match.classes, match.columns, match.model_only) == (("happy", "sad"), (1, 0), ("fear",))
    with pytest.raises(DatasetError, match="does not know class bored"):
        match_classes(["sad", "happy"], ["happy", "sad", "bored"])
    assert match_classes(["sad", "happy"], ["happy", "sad", "bored"], shared_only=True).data_only == ("bored",)
    with pytest.raises(DatasetError, match="at least two classes"):
        match_classes(["sad", "happy"], ["sad"])
    with pytest.raises(DatasetError, match="both mean 'happy'"):
        match_classes(["joy", "happy"], ["happy", "sad"])


def test_unreadable_pictures_are_named_and_the_rest_is_measured(
    tiny_bundle: Bundle, data: Path, run: Run, tmp_path: Path
):
    for label in LEVELS:
        (data / f"validation/{label}/broken.png").write_bytes(b"no picture")
    code, out, err = run(data, "--model", tiny_bundle.path)
    assert code == 1
    assert err.count("broken.png") == 3
    assert out.startswith(run(data, "--model", tiny_bundle.path)[1].splitlines()[0])
    assert "3 pictures could not be read" in out
    for path in data.rglob("validation/*/*.png"):
        path.write_bytes(b"")
    code, _, err = run(data, "--model", tiny_bundle.path)
    assert code == 2
    assert "none of 16 pictures can be read" in err


def test_a_face_that_is_not_found_is_an_error_reported_apart(tiny_bundle: Bundle, data: Path):
    class Bright(StubDetector):
        def detect(self, image: np.ndarray) -> list[Face]:
            return super().detect(image) if image.mean() > 50 else []

    face = Face((0, 0, 48, 48), 0.9, None, "stub")
    found = evaluate(tiny_bundle, open_dataset(data, "validation"), detector=Bright([face]))
    assert len(found.missed) == 4
    assert found.scores.missed.tolist() == [0, 0, 4]
    assert found.scores.samples == 13
    assert found.scores.classes[2].recall.value == 0
    assert "No face was found in 4 of 13" in to_text(found)
    assert "no face" in to_html(found)
    assert len(json.loads(to_json(found))["missed"]) == 4
    nothing = evaluate(tiny_bundle, open_dataset(data, "validation"), detector=StubDetector([]))
    assert nothing.scores.accuracy.value == 0
    assert to_html(nothing)
    assert to_json(nothing)


def test_mirroring_changes_nothing_for_flat_pictures(tiny_bundle: Bundle, data: Path, run: Run):
    plain = run(data, "--model", tiny_bundle.path)[1].splitlines()
    flipped = run(data, "--model", tiny_bundle.path, "--tta", "flip")[1].splitlines()
    assert plain[:2] == flipped[:2]
    assert "mirrored" in flipped[-1]


@pytest.fixture
def table(data: Path) -> Path:
    rows = [
        [f"validation/{label}/{i}.png", label.title(), "val", "glasses" if i % 2 else "none"]
        for label, levels in LEVELS.items()
        for i in range(len(levels))
    ]
    return write_csv(
        data / "set.csv", ["path", "label", "split", "eyes"], *rows, ["train/sad/0.bmp", "Sad", "train", "none"]
    )


def test_a_csv_is_a_data_set_with_slices(tiny_bundle: Bundle, table: Path, data: Path, run: Run):
    code, out, _ = run(table, "--model", tiny_bundle.path, "--by", "eyes")
    assert code == 0
    assert out.splitlines()[:2] == run(data, "--model", tiny_bundle.path)[1].splitlines()[:2]
    assert re.search(r"^glasses .* 6$", out, re.MULTILINE)
    assert re.search(r"^none .* 7$", out, re.MULTILINE)
    code, _, err = run(table, "--model", tiny_bundle.path, "--by", "hair")
    assert (code, "no column 'hair'" in err, "eyes" in err) == (2, True, True)


def test_the_gap_between_the_best_and_the_worst_group_is_told(tiny_bundle: Bundle, table: Path):
    found = evaluate(tiny_bundle, open_dataset(table, "validation"), by="eyes")
    accuracy = {part.value: part.scores.accuracy for part in found.slices}
    # With glasses, two happy and one sad of six are read rightly; without, one happy and three sad of seven.
    assert {name: e.value for name, e in accuracy.items()} == pytest.approx({"glasses": 3 / 6, "none": 4 / 7})
    assert all(e.low < e.value < e.high for e in accuracy.values())
    assert found.gap is not None
    assert (found.gap.best, found.gap.worst) == ("none", "glasses")
    assert found.gap.difference == pytest.approx(4 / 7 - 3 / 6)
    sentence = "gap in accuracy: 7.14 points, from none (best) to glasses (worst)"
    assert sentence in to_text(found)
    assert sentence[1:] in to_html(found)
    document = json.loads(to_json(found))
    assert document["gap"] == {"best": "none", "worst": "glasses", "difference": pytest.approx(1 / 14)}
    plain = evaluate(tiny_bundle, open_dataset(table, "validation"))
    assert plain.gap is None
    assert json.loads(to_json(plain))["gap"] is None


def test_listed_pictures_are_left_out(data: Path, tmp_path: Path):
    split = open_dataset(data, "validation")
    listing = write_csv(tmp_path / "bad.csv", ["path", "why"], ["validation/sad/1.png", "x"], ["train/sad/0.bmp", "y"])
    assert len(exclude(split, listing)) == 12
    with pytest.raises(DatasetError, match=r"no such picture: gone\.png \(line 2\)"):
        exclude(split, write_csv(tmp_path / "gone.csv", ["path"], ["gone.png"]))
    everything = [[s.path.relative_to(data)] for s in split.samples]
    with pytest.raises(DatasetError, match="nothing is left"):
        exclude(split, write_csv(tmp_path / "all.csv", ["path"], *everything))


def test_a_repeat_that_training_leaves_out_is_none(data: Path, tmp_path: Path, tiny_bundle: Bundle, run: Run):
    _, out, _ = run(data, "--model", tiny_bundle.path)
    assert "1 pictures stand in the training split too" in out
    listing = write_csv(tmp_path / "leave.csv", ["path"], ["train/happy/0.bmp"])
    _, out, _ = run(data, "--model", tiny_bundle.path, "--exclude", listing)
    assert "No picture stands in the training split too" in out


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["path", "class"], ["a", "sad"]], "no column label; found 'path', 'class'"),
        ([["path", "label"]], "no rows under the header"),
        ([["path", "label"], ["a.png", "sad"], ["", "sad"]], "line 3: column path is empty"),
        ([["path", "label"], ["a.png", "sad"], ["b.png", "happy"]], r"no such picture: b\.png \(line 3\)"),
        ([["path", "label"], ["a.png", "sad"], ["a.png", "happy"]], "line 3: a.png is listed already on line 2"),
        ([["path", "label"], ["a.png", "sad"], ["b.png", "Sad"]], "both mean 'sad'"),
        ([["path", "label", "split"], ["a.png", "sad", "train"]], "no row of split 'validation', only 'train'"),
        ([["emotion", "pixels", "Usage"], ["1", "2", "3"]], "mien data import"),
    ],
)
def test_a_csv_that_cannot_be_used_is_refused(rows: list[list[object]], message: str, tmp_path: Path):
    picture(tmp_path / "a.png", 3)
    with pytest.raises(DatasetError, match=message):
        open_dataset(write_csv(tmp_path / "set.csv", *rows), "validation")


def test_train_and_validation_in_one_folder_are_refused(data: Path):
    (data / "both").mkdir()
    for name in ("train", "validation"):
        (data / "both" / name).symlink_to(data / "validation", target_is_directory=True)
    with pytest.raises(DatasetError, match="train and validation are the same folder"):
        open_dataset(data / "both", "validation")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--weights", "bored=1"], "a weight for bored"),
        (["--weights", "happy"], "expected name=number"),
        (["--weights", "happy=-1"], "expected weights of 0 or more"),
        (["--split", "test"], "no split 'test' here"),
        (["--by", "age"], "no column 'age'"),
        (["--detector", "nose"], "unknown detector"),
        (["--model", "nothing.onnx"], "no model called"),
        (["--exclude", "nothing.csv"], "no such file"),
    ],
)
def test_wrong_use_is_explained(options: list[str], message: str, tiny_bundle: Bundle, data: Path, run: Run):
    model = [] if "--model" in options else ["--model", tiny_bundle.path]
    code, out, err = run(data, *model, *options)
    assert (code, out) == (2, "")
    assert message in err


def test_data_that_cannot_be_used_is_explained(tiny_bundle: Bundle, data: Path, run: Run):
    (data / "validation/angry").mkdir()
    assert "no pictures in this class folder" in run(data, "--model", tiny_bundle.path)[2]
    picture(data / "validation/angry/a.png", 1)
    code, _, err = run(data, "--model", tiny_bundle.path, "--no-repeats")
    assert (code, "does not know class angry" in err) == (2, True)
    code, out, _ = run(data, "--model", tiny_bundle.path, "--shared-only", "--no-repeats")
    assert (code, "samples of these were left out" in out) == (0, True)
    picture(data / "validation/SAD/a.png", 1)
    assert "both mean 'sad'" in run(data, "--model", tiny_bundle.path)[2]


def test_what_is_undefined_is_called_so_and_a_remark_says_why(tiny_bundle: Bundle, tmp_path: Path, run: Run):
    for label in ("happy", "sad"):
        picture(tmp_path / f"two/validation/{label}/a.png", 250)
    code, out, _ = run(tmp_path / "two", "--model", tiny_bundle.path)
    assert code == 0
    assert "Cohen's kappa        0.0000  Matthews undefined" in out
    assert "all of one class: Matthews' correlation is undefined" in out
    assert not re.search(r"\bnan\b", out)


def test_damage_is_repeatable_and_leaves_the_original():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (60, 48, 3)).astype(np.uint8)
    before = image.copy()
    for kind in CORRUPTIONS:
        for strength in STRENGTHS:
            harmed = corrupt(image, kind, strength, (1, 2))
            assert (harmed.shape, harmed.dtype) == (image.shape, np.uint8)
            np.testing.assert_array_equal(harmed, corrupt(image, kind, strength, (1, 2)))
            assert (harmed != image).any()
    np.testing.assert_array_equal(image, before)
    assert corrupt(image[:1, :1], "occlusion", 5).shape == (1, 1, 3)


def test_the_page_names_every_field_of_the_json(tiny_bundle: Bundle, data: Path):
    page = (Path(__file__).parents[2] / "docs/measure/evaluate.md").read_text(encoding="utf-8")
    table = page.split("## The JSON")[1].split("## In Python")[0]
    document = json.loads(to_json(evaluate(tiny_bundle, open_dataset(data, "validation"))))
    parts = [f"{name}.{key}" for name in ("model", "data", "options", "course") for key in document[name]]
    whole = [
        name for name in document if name not in ("schema", "schema_version", "model", "data", "options", "course")
    ]
    assert [name for name in [*whole, *parts, *document["scores"]] if name not in table] == []


def test_the_page_names_every_kind_of_damage():
    page = (Path(__file__).parents[2] / "docs/measure/evaluate.md").read_text(encoding="utf-8")
    (row,) = (line for line in page.splitlines() if line.startswith("| `--corrupt` |"))
    assert [kind for kind in CORRUPTIONS if kind not in row.lower()] == []


def test_damage_is_measured(tiny_bundle: Bundle, data: Path):
    found = evaluate(tiny_bundle, open_dataset(data, "validation"), corruptions=True)
    assert found.corrupted is not None
    assert list(found.corrupted.accuracies) == list(CORRUPTIONS)
    # Blur leaves a flat picture as it is.
    assert found.corrupted.accuracies["blur"] == (found.scores.accuracy.value,) * 5
    values = [v for row in found.corrupted.accuracies.values() for v in row]
    assert found.corrupted.mean_error == pytest.approx(1 - np.mean(values))


def test_progress_is_told_to_the_end(tiny_bundle: Bundle, data: Path):
    told = Told()
    evaluate(
        tiny_bundle,
        open_dataset(data, "validation"),
        train=training_split(data, "validation"),
        progress=told,
    )
    assert told.steps == [("reading faces", 13, 13), ("looking for repeats", 3, 3)]
