"""A declared prior shifts the answers by Bayes' rule, a part of the way if asked; what makes no sense is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.errors import BundleError, DatasetError
from mien.model.bundle import Bundle, write_bundle
from mien.model.prior import Prior, as_prior
from mien.model.session import Session
from mien.pipeline import Recognizer
from tests.models import CLASSES, tiny_manifest, two_answers, two_answers_golden, two_answers_onnx

LEARNED = {"happy": 0.6, "neutral": 0.3, "sad": 0.1}
CROPS = two_answers_golden().crops
PEOPLE = two_answers(LEARNED)[0]


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    manifest = tiny_manifest().with_answers(two_answers(LEARNED))
    return write_bundle(tmp_path / "b.onnx", two_answers_onnx(), manifest, two_answers_golden())


def test_the_training_prior_changes_nothing(bundle: Bundle):
    plain = Session(bundle, threads=1)
    for prior in (Prior(), Prior("even", strength=0.0), as_prior("training"), as_prior(None)):
        np.testing.assert_array_equal(Session(bundle, 1, prior=prior).run(CROPS)[0], plain.run(CROPS)[0])


@pytest.mark.parametrize("strength", [0.25, 0.5, 1.0])
def test_an_even_prior_is_the_logit_less_strength_times_the_log_of_the_prior(bundle: Bundle, strength: float):
    _, logits = Session(bundle, threads=1).run(CROPS)
    shifted = np.exp(logits - strength * np.log([LEARNED[c] for c in CLASSES]))
    session = Session(bundle, 1, prior=as_prior("even", strength))
    probabilities, same = session.run(CROPS)
    np.testing.assert_allclose(probabilities, shifted / shifted.sum(axis=1, keepdims=True), atol=1e-5)
    np.testing.assert_array_equal(same, logits)  # the graph's own stay as they are


@given(st.lists(st.floats(0.01, 1), min_size=3, max_size=3))
def test_given_shares_are_what_a_face_that_tells_nothing_gets(shares: list[float]):
    shift = Prior("given", dict(zip(CLASSES, shares, strict=True))).shift(PEOPLE, "m")
    assert shift is not None
    learned = np.array([LEARNED[c] for c in CLASSES]) * np.exp(shift)
    np.testing.assert_allclose(learned / learned.sum(), np.array(shares) / sum(shares), rtol=1e-4)


def test_the_training_shares_given_as_numbers_change_nothing_and_a_share_of_zero_rules_a_class_out(bundle: Bundle):
    plain, given = Session(bundle, 1).run(CROPS)[0], Session(bundle, 1, prior=as_prior(LEARNED)).run(CROPS)[0]
    np.testing.assert_allclose(given, plain, atol=1e-6)
    none = Session(bundle, 1, prior=as_prior({"happy": 0, "neutral": 1, "Sad": 1})).run(CROPS)[0]
    assert (none[:, 0] == 0).all()
    np.testing.assert_allclose(none.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.json", json.dumps({"happy": 1, "neutral": 2, "sad": 1})),
        ("p.csv", "class,share\nhappy,1\nneutral,2\nsad,1\n"),
        ("p.txt", "\ufeffhappy,1\n\nneutral, 2\nsad,1"),
    ],
)
def test_files_of_shares(bundle: Bundle, tmp_path: Path, astronaut: Path, name: str, text: str):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    prior = as_prior(path)
    assert prior.shares == {"happy": 1, "neutral": 2, "sad": 1}
    assert str(prior) == name
    assert Recognizer(bundle.path, "whole", prior=str(path)).read(astronaut)


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"happy": 1, "neutral": 1}, "expected a share for each of happy, neutral, sad; found no sad"),
        ({"happy": 1, "neutral": 1, "sad": 1, "bored": 1}, "found bored too"),
        ({"happy": 2, "neutral": -1, "sad": 1}, "expected shares of 0 or more, found -1 for 'neutral'"),
        ({"happy": float("nan"), "neutral": 1, "sad": 1}, "expected shares of 0 or more, found nan"),
        ({"happy": 0, "neutral": 0, "sad": 0}, "expected shares that sum to more than 0"),
        ({}, "expected shares that sum to more than 0"),
        ({"happy": 1e308, "neutral": 1e308, "sad": 1}, "not to infinity, found inf"),
        ({"happy": 1, "Happy ": 2, "neutral": 1, "sad": 1}, "'happy' has two shares"),
    ],
)
def test_shares_that_make_no_sense(bundle: Bundle, shares: dict[str, float], message: str):
    with pytest.raises(DatasetError, match=message):
        Recognizer(bundle.path, "whole", prior=shares)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"happy": "much"}',
        '{"happy": null}',
        "happy;1",
        "happy,1,2",
        "happy,1\nhappy,2",
        "\x00\xff",
        '{"a":' * 3000,
        '{"happy": 1, "happy": 2}',
        '"' + "x" * 200_000,
        "x" * 2_000_000,
    ],
)
def test_files_that_are_none(tmp_path: Path, text: str):
    path = tmp_path / "p.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DatasetError, match=r"prior .*p\.csv: expected"):
        as_prior(path)


def test_a_missing_file_a_folder_and_a_strength_out_of_range(tmp_path: Path):
    for place in ("evn", "e\0vn", tmp_path):
        with pytest.raises(DatasetError, match="expected training, even, or a readable file of shares"):
            as_prior(place)
    for strength in (-0.1, 1.1, float("nan")):
        with pytest.raises(DatasetError, match="strength of the prior from 0 to 1"):
            as_prior("even", strength)


def test_a_bundle_that_does_not_say_what_it_learned_keeps_its_prior(tiny_bundle: Bundle):
    assert Session(tiny_bundle, 1, prior=as_prior("training"))
    with pytest.raises(BundleError, match="does not say how common each class was"):
        Session(tiny_bundle, 1, prior=as_prior("even"))


def test_another_answer_of_the_same_session_has_its_own_prior(bundle: Bundle):
    other = Session(bundle, 1, prior=as_prior("even")).giving("fer2013")
    assert other.prior == Prior()
    np.testing.assert_allclose(other.run(CROPS)[0], two_answers_golden().others["fer2013"], atol=1e-6)
