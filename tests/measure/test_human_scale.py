"""The human scale: panels, ceiling and majorities on votes whose answers are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.dataset import Sample
from mien.measure.human_scale import human_scale

CLASSES = ("happy", "neutral", "sad")


def samples(*votes: dict[str, int]) -> list[Sample]:
    return [Sample(Path(f"{i}.png"), "happy", v) for i, v in enumerate(votes)]


def measured(votes: list[dict[str, int]], answers: list[int], **more: object):
    chances = np.full((len(votes), 3), 0.1)
    chances[np.arange(len(votes)), answers] = 0.8
    return human_scale(samples(*votes), np.zeros(len(votes), np.int64), chances, CLASSES, **more)  # type: ignore[arg-type]


def test_people_of_one_mind_agree_always_and_a_model_that_knows_is_worth_one_of_them():
    found = measured([{"happy": 10}, {"sad": 10}, {"neutral": 4}], [0, 2, 1])
    assert found is not None
    assert [e.value for e in found.panels.values()] == [1.0] * 9
    assert (found.model.value, found.ceiling.value, found.strict.value) == (1, 1, 1)
    assert found.worth == "as one person"
    assert found.cross_entropy.value == pytest.approx(-np.log(0.8))


def test_one_person_is_the_chance_that_two_voters_say_the_same():
    votes = [{"happy": 7, "sad": 3}] * 400
    found = measured(votes, [0] * 400)
    assert found is not None
    assert found.panels[1].value == pytest.approx((7 * 6 + 3 * 2) / 90, abs=0.02)
    assert found.model.value == pytest.approx(0.7)
    assert found.ceiling.value == pytest.approx(0.7)
    values = [found.panels[n].value for n in (1, 3, 5)]
    assert values == sorted(values)
    assert found.people_cross_entropy.value > 0.6  # the entropy of 7 to 3, which nobody beats


def test_a_model_that_says_what_few_say_is_worth_less_than_a_person():
    found = measured([{"happy": 7, "sad": 3}] * 50, [2] * 50)
    assert found is not None
    assert found.worth == "less than one person"


def test_majorities_in_both_conventions():
    votes = [
        {"happy": 6, "sad": 4},  # strict and untied
        {"happy": 5, "sad": 3, "neutral": 1, "unknown": 1},  # strict once the single votes are dropped
        {"happy": 4, "sad": 3, "neutral": 3},  # untied only
        {"happy": 5, "sad": 5},  # neither
        {"happy": 2, "contempt": 8},  # a class that is not compared
    ]
    found = measured(votes, [0, 0, 2, 0, 0])
    assert found is not None
    assert (found.strict_count, found.strict.value) == (2, 1.0)
    assert found.untied_count == 3
    assert found.untied.value == pytest.approx(2 / 3)
    assert found.label_accuracy.value == 0.8


def test_pictures_without_votes_and_repeats_are_left_out():
    votes = [{"happy": 3}, {"happy": 1}, {}, {"contempt": 9}, {"sad": 4}]
    found = measured(votes, [0] * 5, fresh=np.array([True, True, True, True, False]))
    assert found is not None
    assert (found.count, found.without_repeats) == (1, True)
    assert measured([{}, {"happy": 1}], [0, 0]) is None
    assert measured([{"happy": 3}], [0], fresh=np.array([False])) is None


@settings(max_examples=25)
@given(st.lists(st.lists(st.integers(0, 10), min_size=3, max_size=3), min_size=1, max_size=12))
def test_nobody_passes_the_ceiling_and_intervals_hold_their_value(counts: list[list[int]]):
    votes = [dict(zip(CLASSES, row, strict=True)) for row in counts]
    found = measured(votes, [int(np.argmax(row)) for row in counts])
    if found is None:
        assert all(sum(row) < 2 for row in counts)
        return
    assert found.model.value == pytest.approx(found.ceiling.value)
    for e in (found.model, found.ceiling, found.cross_entropy, *found.panels.values()):
        assert e.low - 1e-9 <= e.value <= e.high + 1e-9
