"""Two models on the same labeled data: the paired statistics, what is said about them, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn import metrics as reference

from mien.dataset import open_dataset
from mien.detect import StubDetector
from mien.errors import DatasetError
from mien.measure.compare import compare
from mien.measure.significance import Difference, difference, joint_table, mcnemar
from mien.model.bundle import Bundle, GoldenVectors, write_bundle
from mien.records import Face
from mien.report import comparison_to_html, comparison_to_json, comparison_to_text
from tests.measure.test_evaluate import LEVELS, Run, picture, write_csv
from tests.models import tiny_manifest, tiny_onnx
from tests.progress import Told

NAMES = ("happy", "neutral", "sad")


def make_bundle(path: Path, *classes: str) -> Bundle:
    """A tiny model that reads bright as its first class and dark as its third (of two: its second)."""
    count = len(classes)
    golden = GoldenVectors(np.zeros((1, 48, 48, 1), np.uint8), np.full((1, count), 1 / count, np.float32))
    return write_bundle(path, tiny_onnx(classes=count), tiny_manifest(name=path.stem, classes=classes), golden)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """13 flat pictures in validation."""
    for label, levels in LEVELS.items():
        for i, level in enumerate(levels):
            picture(tmp_path / f"data/validation/{label}/{i}.png", level)
    return tmp_path / "data"


@pytest.fixture
def first(tmp_path: Path) -> Bundle:
    """Right on three happy and four sad ones."""
    return make_bundle(tmp_path / "first.onnx", "happy", "neutral", "sad")


@pytest.fixture
def second(tmp_path: Path) -> Bundle:
    """Reads bright as neutral: right on one neutral and four sad ones."""
    return make_bundle(tmp_path / "second.onnx", "neutral", "happy", "sad")


@pytest.fixture
def run(mien: Run) -> Run:
    """Call `mien compare ARGS`; returns exit code, stdout, stderr."""
    return partial(mien, "compare")


def random_answers(seed: int, samples: int, right_a: float, right_b: float) -> tuple[np.ndarray, ...]:
    """Truth and the answers of two classifiers that often err together."""
    random = np.random.default_rng(seed)
    truth, wrong = random.integers(0, 3, samples), random.integers(0, 3, samples)
    hard = random.random(samples)
    jitter = random.normal(0, 0.1, (2, samples))
    a, b = (
        np.where(hard + noise < right, truth, wrong) for noise, right in zip(jitter, (right_a, right_b), strict=True)
    )
    return truth, a, b


def measured(seed: int = 0, samples: int = 400, right_a: float = 0.6, right_b: float = 0.7) -> Difference:
    return difference(joint_table(*random_answers(seed, samples, right_a, right_b), 3), NAMES)


# --- the statistics


@given(st.integers(0, 1500), st.integers(0, 1500))
def test_mcnemar_is_the_exact_binomial_test(only_a: int, only_b: int):
    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert mcnemar(only_a, only_b) == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_mcnemar_at_the_ends():
    assert mcnemar(0, 0) == 1
    assert mcnemar(7, 7) == 1
    assert mcnemar(0, 1) == 1
    assert mcnemar(0, 5) == pytest.approx(2 / 32)
    assert mcnemar(0, 100_000) == 0
    with pytest.raises(ValueError, match="0 or more"):
        mcnemar(-1, 2)


def f1_of(truth: np.ndarray, said: np.ndarray) -> np.ndarray:
    """Of each of three classes; scikit-learn's takes two milliseconds."""
    right, wanted, given = (np.bincount(x, minlength=3) for x in (truth[truth == said], truth, said))
    return 2 * right / (wanted + given)


def test_the_paired_bootstrap_is_that_of_resampled_samples():
    truth, a, b = random_answers(1, 400, 0.6, 0.7)
    found = difference(joint_table(truth, a, b, 3), NAMES)
    random = np.random.default_rng(5)
    spread = []
    for _ in range(2000):
        drawn = random.integers(0, len(truth), len(truth))
        t, of_a, of_b = truth[drawn], a[drawn], b[drawn]
        f1_a, f1_b = (f1_of(t, said) for said in (of_a, of_b))
        spread.append([(of_b == t).mean() - (of_a == t).mean(), f1_b.mean() - f1_a.mean(), f1_b[2] - f1_a[2]])
    np.testing.assert_allclose(f1_of(truth, a), reference.f1_score(truth, a, average=None))
    low, high = np.quantile(spread, [0.025, 0.975], axis=0)
    estimates = [found.accuracy, found.macro_f1, found.classes[2].f1]
    np.testing.assert_allclose([e.low for e in estimates], low, atol=0.006)
    np.testing.assert_allclose([e.high for e in estimates], high, atol=0.006)
    assert found.accuracy.value == pytest.approx((b == truth).mean() - (a == truth).mean())


def test_the_values_are_those_of_scikit_learn():
    truth, a, b = random_answers(2, 300, 0.5, 0.8)
    found = difference(joint_table(truth, a, b, 3), NAMES)
    of_a, of_b = (reference.precision_recall_fscore_support(truth, said)[:3] for said in (a, b))
    for k, c in enumerate(found.classes):
        values = [c.precision.value, c.recall.value, c.f1.value]
        np.testing.assert_allclose(values, [of_b[i][k] - of_a[i][k] for i in range(3)])
    assert found.kappa == pytest.approx(reference.cohen_kappa_score(a, b))
    assert found.agreement == pytest.approx((a == b).mean())
    assert sum(d.count for d in found.disagreements) == (a != b).sum()
    counts = [d.count for d in found.disagreements]
    assert counts == sorted(counts, reverse=True)


def test_pairing_makes_the_interval_narrow():
    truth, a, b = random_answers(3, 2000, 0.6, 0.62)
    paired = difference(joint_table(truth, a, b, 3), NAMES).accuracy
    apart = difference(joint_table(truth, a, np.random.default_rng(0).permutation(b), 3), NAMES).accuracy
    assert paired.high - paired.low < 0.7 * (apart.high - apart.low)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_swapping_the_two_negates_the_differences(seed: int, samples: int):
    random = np.random.default_rng(seed)
    truth, a, b = random.integers(0, 3, samples), random.integers(0, 4, samples), random.integers(0, 4, samples)
    there, back = (difference(joint_table(truth, x, y, 3), NAMES, resamples=200) for x, y in ((a, b), (b, a)))
    assert there.accuracy.value == -back.accuracy.value
    assert there.macro_f1.value == -back.macro_f1.value
    assert (there.only_a, there.only_b, there.p_value) == (back.only_b, back.only_a, back.p_value)
    assert there.both_right + there.only_a + there.only_b + there.neither == there.samples == samples
    for c, d in zip(there.classes, back.classes, strict=True):
        values, negated = ([e.precision.value, e.recall.value, e.f1.value] for e in (c, d))
        np.testing.assert_array_equal(values, np.negative(negated))
    np.testing.assert_equal(there.kappa, back.kappa)


def test_the_same_answers_differ_by_exactly_nothing():
    truth, a, _ = random_answers(0, 200, 0.6, 0.6)
    found = difference(joint_table(truth, a, a, 3), NAMES)
    assert found.accuracy == found.macro_f1 == (0, 0, 0)
    assert all(c.precision == c.recall == c.f1 == (0, 0, 0) for c in found.classes)
    assert (found.p_value, found.agreement, found.disagreements, found.better) == (1, 1, (), "")


def test_the_better_one_is_found_and_the_seed_is_kept():
    assert measured(right_a=0.5, right_b=0.8).better == "B"
    assert measured(right_a=0.8, right_b=0.5).better == "A"
    assert measured(samples=20, right_a=0.6, right_b=0.61).better == ""
    assert measured().accuracy == measured().accuracy


def test_tables_that_do_not_fit_are_refused():
    one = np.array([0])
    with pytest.raises(ValueError, match="B has 2"):
        joint_table(one, one, np.array([0, 1]), 2)
    with pytest.raises(ValueError, match=r"b: expected values 0\.\.2, found 3\.\.3"):
        joint_table(one, one, np.array([3]), 2)
    with pytest.raises(ValueError, match="expected samples in a table"):
        difference(np.zeros((2, 3, 3), np.int64), ["a", "b"])


# --- two models


def test_two_models_are_compared_sample_by_sample(first: Bundle, second: Bundle, data: Path):
    found = compare(first, second, open_dataset(data, "validation")).difference
    assert (found.both_right, found.only_a, found.only_b, found.neither) == (4, 3, 1, 5)
    assert found.p_value == pytest.approx(binomtest(1, 4).pvalue)
    assert found.accuracy.value == pytest.approx(-2 / 13)
    common = found.disagreements[0]
    assert (common.truth, common.a, common.b, common.count) == ("happy", "happy", "neutral", 3)


def test_the_text_says_it_in_a_sentence(first: Bundle, second: Bundle, data: Path, run: Run):
    code, out, err = run(first.path, second.path, data)
    assert (code, err) == (0, "")
    assert "A is right more often than B on these pictures: B - A is -15.38 points" in out
    assert "no more than chance would give (McNemar's exact test, p = 0.62, not below 0.05)" in out
    assert "right: both 4, only A 3, only B 1, neither 5" in out
    assert re.search(r"^happy +happy +neutral +3$", out, re.MULTILINE)
    for word in ("calibration error", "log loss", "Cohen's kappa", "mean F1", "B: happy was never predicted"):
        assert word in out


def test_a_clear_difference_is_called_more_than_chance(first: Bundle, tmp_path: Path):
    for i in range(12):
        picture(tmp_path / f"d/happy/{i}.png", 200 + i)
        picture(tmp_path / f"d/sad/{i}.png", 20 + i)
    inverse = make_bundle(tmp_path / "inverse.onnx", "sad", "neutral", "happy")
    found = compare(inverse, first, open_dataset(tmp_path / "d", "validation"))
    assert "B is right more often than A: B - A is +100.00 points" in comparison_to_text(found)
    assert "more than chance (McNemar's exact test, p < 0.0001, below 0.05)" in comparison_to_text(found)
    assert found.difference.better == "B"


def test_the_json_has_a_schema_and_every_sample(first: Bundle, second: Bundle, data: Path, run: Run, tmp_path: Path):
    assert run(first.path, second.path, data, "--json", tmp_path / "deep/c.json")[0] == 0
    document = json.loads((tmp_path / "deep/c.json").read_text())
    assert (document["schema"], document["schema_version"]) == ("mien.comparison", 1)
    assert (document["a"]["name"], document["b"]["name"]) == ("first", "second")
    assert document["mcnemar"]["only_a"] == 3
    assert document["verdict"]["better"] is None
    assert document["difference"]["per_class"]["neutral"]["precision"]["value"] is None
    assert document["difference"]["accuracy"]["value"] == pytest.approx(-2 / 13)
    assert document["samples"][0] == {"path": "validation/happy/0.png", "label": "happy", "a": "happy", "b": "neutral"}
    assert len(document["samples"]) == 13
    assert sum(d["count"] for d in document["disagreements"]) == sum(s["a"] != s["b"] for s in document["samples"])


def test_the_page_stands_alone_and_shows_the_surest_first(
    first: Bundle, second: Bundle, data: Path, run: Run, tmp_path: Path
):
    assert run(first.path, second.path, data, "--html", tmp_path / "c.html")[0] == 0
    html = (tmp_path / "c.html").read_text()
    assert not re.search(r"(?:https?:)?//[a-z]|<script|<link|@import|url\(", html)
    assert html.count("data:image/png;base64,") == 4
    assert html.count("<svg") == 1
    only_a = html.split("Only A reads these rightly")[1]
    sure = [int(n) for n in re.findall(r"B ✗ neutral (\d+)%", only_a)]
    assert len(sure) == 3
    assert sure == sorted(sure, reverse=True)
    assert "is right more often than" in html


def test_names_cannot_break_the_page(tmp_path: Path, first: Bundle):
    for label in ("happy", "sad"):
        picture(tmp_path / f"<b>x</b>/{label}/a.png", 200)
    other = write_bundle(
        tmp_path / "o.onnx", tiny_onnx(), tiny_manifest(name="<i>o</i>", classes=("sad", "neutral", "happy")),
        GoldenVectors(np.zeros((1, 48, 48, 1), np.uint8), np.full((1, 3), 1 / 3, np.float32)),
    )  # fmt: skip
    html = comparison_to_html(compare(first, other, open_dataset(tmp_path / "<b>x</b>", "validation")))
    assert "<b>x" not in html
    assert "<i>o" not in html


def test_the_same_model_twice_is_told(first: Bundle, data: Path, run: Run, tmp_path: Path):
    copy = shutil.copy(first.path, tmp_path / "copy.onnx")
    for other in (first.path, copy):
        code, out, _ = run(first.path, other, data, "--json", tmp_path / "c.json", "--html", tmp_path / "c.html")
        assert (code, "A and B are the same model" in out) == (0, True)
        document = json.loads((tmp_path / "c.json").read_text())
        assert document["same_model"] is True
        assert document["difference"]["accuracy"] == {"value": 0, "low": 0, "high": 0}
        assert "They never disagree" in (tmp_path / "c.html").read_text()


def test_models_of_different_classes_are_compared_on_the_shared_ones(
    first: Bundle, data: Path, run: Run, tmp_path: Path
):
    wide = make_bundle(tmp_path / "wide.onnx", "joy", "angry", "sadness", "neutral")
    found = compare(wide, first, open_dataset(data, "validation"))
    assert found.classes == NAMES
    for evaluation in (found.a, found.b):
        assert evaluation.probabilities.shape == (13, 3)
        np.testing.assert_allclose(evaluation.probabilities.sum(axis=1), 1)
    assert "A also knows angry: its probabilities were restricted to happy, neutral, sad" in comparison_to_text(found)
    picture(data / "validation/angry/a.png", 1)
    code, out, err = run(wide.path, first.path, data)
    assert (code, out) == (2, "")
    assert "model B (first): the model does not know class angry" in err
    code, out, _ = run(wide.path, first.path, data, "--shared-only", "--json", tmp_path / "c.json")
    assert code == 0
    assert "Samples of angry were left out: not both models know it" in out
    document = json.loads((tmp_path / "c.json").read_text())
    assert document["classes_left_out"] == ["angry"]
    assert document["a"]["classes_not_compared"] == ["angry"]
    assert document["samples_compared"] == 13


def test_models_that_share_too_little_are_refused(first: Bundle, data: Path, run: Run, tmp_path: Path):
    other = make_bundle(tmp_path / "other.onnx", "sad", "fear", "angry")
    picture(data / "validation/fear/a.png", 1)
    code, _, err = run(first.path, other.path, data, "--shared-only")
    assert (code, "at least two classes that both models and the data share, found sad" in err) == (2, True)


def test_unreadable_pictures_are_named_once(first: Bundle, second: Bundle, data: Path, run: Run):
    whole = run(first.path, second.path, data)[1]
    (data / "validation/sad/broken.png").write_bytes(b"no picture")
    code, out, err = run(first.path, second.path, data)
    assert (code, err.count("broken.png")) == (1, 1)
    assert "1 picture could not be read and is in no number" in out
    assert out.startswith(whole.split("where they disagree")[0])


def test_a_face_that_is_not_found_is_an_error_of_both(first: Bundle, second: Bundle, data: Path):
    class Bright(StubDetector):
        def detect(self, image: np.ndarray) -> list[Face]:
            return super().detect(image) if image.mean() > 50 else []

    face = Face((0, 0, 48, 48), 0.9, None, "stub")
    found = compare(first, second, open_dataset(data, "validation"), detector=Bright([face]))
    assert (found.difference.both_right, found.difference.neither, found.difference.samples) == (0, 9, 13)
    assert len(found.missed) == 4
    assert "No face was found in 4 of 13" in comparison_to_text(found)
    assert [s["a"] for s in json.loads(comparison_to_json(found))["samples"]].count(None) == 4
    assert comparison_to_html(found).count("data:image/png") == 4
    nothing = compare(first, second, open_dataset(data, "validation"), detector=StubDetector([]))
    assert (nothing.difference.neither, nothing.difference.p_value) == (13, 1)
    for write in (comparison_to_text, comparison_to_json, comparison_to_html):
        assert write(nothing)


def test_listed_pictures_are_left_out(first: Bundle, second: Bundle, data: Path, run: Run, tmp_path: Path):
    listing = write_csv(tmp_path / "bad.csv", ["path"], ["validation/happy/0.png"])
    assert "on 12 pictures" in run(first.path, second.path, data, "--exclude", listing)[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{a}", "nothing.onnx", "{data}"], "no model called 'nothing.onnx'"),
        (["{a}", "{b}", "nowhere"], "nowhere"),
        (["{a}", "{b}", "{data}", "--split", "test"], "no split 'test' here"),
        (["{a}", "{b}", "{data}", "--detector", "nose"], "unknown detector"),
        (["{a}", "{b}", "{data}", "--exclude", "nothing.csv"], "no such file"),
        (["{a}", "{b}"], "Missing argument"),
    ],
)
def test_wrong_use_is_explained(
    arguments: list[str], message: str, first: Bundle, second: Bundle, data: Path, run: Run
):
    code, out, err = run(*(part.format(a=first.path, b=second.path, data=data) for part in arguments))
    assert (code, out) == (2, "")
    assert message in err


def test_data_without_one_readable_picture_is_refused(first: Bundle, second: Bundle, data: Path):
    for path in data.rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(DatasetError, match="none of 13 pictures can be read"):
        compare(first, second, open_dataset(data, "validation"))


def test_progress_names_the_model(first: Bundle, second: Bundle, data: Path):
    told = Told()
    compare(first, second, open_dataset(data, "validation"), progress=told)
    assert told.names == ["A: reading faces", "B: reading faces"]
