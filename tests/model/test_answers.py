"""Bundles with several answers: which one is given, what is refused, and that bundles with one are as before."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy as scipy_entropy

from mien.errors import BundleError, BundleMismatch, ManifestError
from mien.model.bundle import BUNDLED, Bundle, load_bundle, write_bundle
from mien.model.classify import classify
from mien.model.manifest import parse_manifest
from mien.model.session import Session
from mien.model.verify import verify_bundle
from mien.pipeline import Recognizer
from mien.records import Expression
from tests.models import tiny_golden, tiny_manifest, tiny_onnx, two_answers, two_answers_golden, two_answers_onnx


@pytest.fixture
def both(tmp_path: Path) -> Bundle:
    manifest = tiny_manifest().with_answers(two_answers())
    return write_bundle(tmp_path / "both.onnx", two_answers_onnx(), manifest, two_answers_golden())


def test_people_is_given_unless_another_answer_is_asked_for(both: Bundle):
    golden, session = two_answers_golden(), Session(both, threads=1)
    assert session.answer.name == "people"
    np.testing.assert_allclose(session.run(golden.crops)[0], golden.probabilities, atol=1e-6)
    label = Session(both, threads=1, answer="fer2013")
    np.testing.assert_allclose(label.run(golden.crops)[0], golden.others["fer2013"], atol=1e-6)
    np.testing.assert_allclose(session.giving("fer2013").run(golden.crops)[0], golden.others["fer2013"], atol=1e-6)
    assert session.answer.name == "people"  # the first one is as it was


def test_expressions_say_which_answer_they_are(both: Bundle):
    crops = two_answers_golden().crops
    assert {e.answer for e in classify(Session(both, threads=1, answer="fer2013"), crops)} == {"fer2013"}


def test_a_recognizer_gives_the_answer_that_is_asked_for(both: Bundle, astronaut: Path):
    (people,) = Recognizer(both.path, "whole", threads=1).read(astronaut)
    (label,) = Recognizer(both.path, "whole", threads=1, answer="fer2013").read(astronaut)
    assert (people.expression.answer, label.expression.answer) == ("people", "fer2013")
    assert people.expression.label != label.expression.label


def test_an_answer_that_is_not_there_names_those_that_are(both: Bundle, tiny_bundle: Bundle):
    with pytest.raises(BundleError, match="no answer 'panel'; it has people, fer2013"):
        Session(both, answer="panel")
    with pytest.raises(BundleError, match="no answer 'people'; it has one without a name"):
        Recognizer(tiny_bundle.path, answer="people")


def test_a_bundle_with_one_answer_has_no_name_for_it(tiny_bundle: Bundle):
    session = Session(tiny_bundle, threads=1)
    assert session.answer.name == ""
    assert session.classes == tiny_bundle.manifest.classes
    assert [one.answer for one in session.each_answer()] == [session.answer]


def test_the_file_keeps_both_answers_and_verifies(both: Bundle):
    again = load_bundle(both.path)
    assert again.manifest == both.manifest
    checks = verify_bundle(again)
    assert [c.passed for c in checks] == [True] * 5
    assert "people, fer2013" in checks[-1].detail


def test_golden_vectors_watch_every_answer(tmp_path: Path):
    golden = two_answers_golden()
    wrong = replace(golden, others={"fer2013": golden.probabilities})
    manifest = tiny_manifest().with_answers(two_answers())
    assert verify_bundle(write_bundle(tmp_path / "b.onnx", two_answers_onnx(), manifest, wrong))[-1].passed is False
    with pytest.raises(BundleError, match="golden vectors"):
        write_bundle(tmp_path / "c.onnx", two_answers_onnx(), manifest, tiny_golden())


def test_an_answer_that_the_graph_lacks_is_refused(tmp_path: Path):
    manifest = tiny_manifest().with_answers(two_answers())
    bundle = write_bundle(tmp_path / "b.onnx", tiny_onnx(), manifest, two_answers_golden())
    with pytest.raises(BundleMismatch, match="the manifest says fer2013_probabilities"):
        Session(bundle, threads=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["answers"].reverse(), "'people' to be the first answer"),
        (lambda m: m["answers"][1].update(name="people"), "names that differ"),
        (lambda m: m["answers"][1].update(name=""), "names that differ"),
        (lambda m: m["answers"][1].update(name="FER 2013"), "answers.1.name"),
        (lambda m: m["calibration"].update(temperature=2), "of the first answer"),
        (lambda m: m["answers"][0].update(prior={"happy": 0.5}), "a prior for each of happy, neutral, sad"),
        (lambda m: m["answers"][0].update(prior={"happy": -1, "neutral": 1, "sad": 1}), "greater than 0"),
    ],
)
def test_answers_that_make_no_sense_are_refused(change: Callable[[dict[str, object]], object], message: str):
    values = json.loads(tiny_manifest().with_answers(two_answers()).to_json())
    change(values)
    with pytest.raises(ManifestError, match=message):
        parse_manifest(json.dumps(values), "x")


def test_readers_of_before_there_were_answers_find_people_where_they_look():
    manifest = tiny_manifest().with_answers(two_answers())
    old = {k: v for k, v in json.loads(manifest.to_json()).items() if k != "answers"}
    assert parse_manifest(json.dumps(old), "x").outputs == manifest.answer("people").outputs


@pytest.mark.parametrize("name", BUNDLED)
def test_the_bundled_models_give_both_answers(name: str):
    bundle = load_bundle(name)
    assert bundle.manifest.name == name
    assert [a.name for a in bundle.manifest.answers] == ["people", "fer2013"]
    for answer in bundle.manifest.answers:
        assert sum(answer.prior.values()) == pytest.approx(1, abs=1e-4)
        assert answer.meaning
    measured = {(m.answer, m.name): m.value for m in bundle.manifest.metrics}
    assert measured["people", "agrees with one person"] > 0.74
    assert all(c.passed for c in verify_bundle(bundle, threads=1))


def test_a_former_name_still_opens_the_model():
    assert load_bundle("small").path == load_bundle("default").path


@given(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=9).filter(sum))
def test_disagreement_is_the_share_of_the_most_entropy(weights: list[float]):
    shares = np.array(weights) / sum(weights)
    expression = Expression(tuple(f"c{i}" for i in range(len(shares))), tuple(shares.tolist()))
    wanted = scipy_entropy(shares) / np.log(len(shares))
    assert expression.disagreement == pytest.approx(wanted, abs=1e-6)
    assert expression.unsure == (max(shares) < 0.5)


def test_all_of_one_mind_and_an_even_split():
    assert Expression(("a", "b"), (1.0, 0.0)).disagreement == 0
    assert Expression(("a", "b", "c"), (1 / 3, 1 / 3, 1 / 3)).disagreement == pytest.approx(1)
    assert Expression(("a", "b", "c"), (1 / 3, 1 / 3, 1 / 3)).unsure
    assert not Expression(("a", "b"), (0.5, 0.5)).unsure
