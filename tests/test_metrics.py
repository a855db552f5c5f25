"""Each measure against scikit-learn, on random and on odd inputs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from mien import metrics


def draw(seed: int, samples: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, classes, samples), rng.dirichlet(np.full(classes, 0.5), samples)


sets = st.tuples(st.integers(0, 10**6), st.integers(1, 200), st.integers(2, 9))


@given(sets)
def test_confusion_and_accuracy_are_those_of_scikit_learn(parameters: tuple[int, int, int]):
    truth, p = draw(*parameters)
    classes = parameters[2]
    expected = reference.confusion_matrix(truth, p.argmax(1), labels=range(classes))
    np.testing.assert_array_equal(metrics.confusion_matrix(truth, p.argmax(1), classes), expected)
    assert metrics.accuracy(truth, p) == pytest.approx(reference.accuracy_score(truth, p.argmax(1)))


@given(sets)
def test_log_loss_is_that_of_scikit_learn(parameters: tuple[int, int, int]):
    truth, p = draw(*parameters)
    assert metrics.log_loss(truth, p) == pytest.approx(
        reference.log_loss(truth, p, labels=range(parameters[2])), rel=1e-6
    )


def test_calibration_error_of_a_known_case():
    """Ten samples at confidence 0.8, of which five are right: the gap is 0.3 in any binning."""
    p = np.tile([0.8, 0.2], (10, 1))
    truth = np.array([0, 1] * 5)
    for bins in (1, 5, 15):
        p_shuffled = p.copy()
        assert metrics.expected_calibration_error(truth, p_shuffled, bins=1) == pytest.approx(0.3)
        assert 0.3 - 1e-9 <= metrics.expected_calibration_error(truth, p_shuffled, bins=bins) <= 0.8


@given(sets)
def test_calibration_error_is_a_share_and_shrinks_with_fewer_bins(parameters: tuple[int, int, int]):
    truth, p = draw(*parameters)
    fine, coarse = (metrics.expected_calibration_error(truth, p, bins) for bins in (15, 1))
    assert 0 <= coarse <= fine + 1e-12 <= 1 + 1e-12


def test_a_perfectly_calibrated_forecaster_scores_near_zero():
    rng = np.random.default_rng(0)
    p = rng.dirichlet([1, 1, 1], 50_000)
    truth = (rng.random((len(p), 1)) > p.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    assert metrics.expected_calibration_error(truth, p) < 0.01


def test_restricting_renormalises_and_keeps_the_chosen_samples():
    truth = np.array([0, 1, 2, 1])
    p = np.array([[0.5, 0.25, 0.25], [0.1, 0.6, 0.3], [0.2, 0.2, 0.6], [0.8, 0.1, 0.1]])
    part_truth, part = metrics.restrict(truth, p, [1, 2])
    assert part_truth.tolist() == [0, 1, 0]
    np.testing.assert_allclose(part, [[2 / 3, 1 / 3], [0.25, 0.75], [0.5, 0.5]])


def test_without_samples_the_answer_is_nan():
    empty = np.empty(0, np.int64), np.empty((0, 3))
    assert np.isnan(metrics.accuracy(*empty))
    assert np.isnan(metrics.log_loss(*empty))
    assert np.isnan(metrics.expected_calibration_error(*empty))
    assert metrics.confusion_matrix(empty[0], empty[0], 3).sum() == 0


@pytest.mark.parametrize(
    ("truth", "p", "message"),
    [
        (np.array([0, 3]), np.ones((2, 3)) / 3, r"expected values 0\.\.2, found 0\.\.3"),
        (np.array([0, 1]), np.ones((3, 3)) / 3, r"expected probabilities \[2, K\]"),
        (np.array([0.0, 1.0]), np.ones((2, 3)) / 3, r"expected int \[N\], found float64"),
    ],
)
def test_wrong_shapes_are_named(truth: np.ndarray, p: np.ndarray, message: str):
    with pytest.raises(ValueError, match=message):
        metrics.accuracy(truth, p)
