"""Each measure against scikit-learn, on random and on odd inputs."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as reference

from mien.measure import intervals, metrics, ranking


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


def test_restricting_renormalizes_and_keeps_the_chosen_samples():
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


def nan_as(values: object) -> np.ndarray:
    return np.nan_to_num(np.asarray(values, float), nan=-1)


@given(sets)
def test_measures_of_a_class_are_those_of_scikit_learn(parameters: tuple[int, int, int]):
    truth, p = draw(*parameters)
    said, labels = p.argmax(1), range(parameters[2])
    confusion = metrics.confusion_matrix(truth, said, parameters[2])
    for ours, name in ((metrics.precision, "precision"), (metrics.recall, "recall"), (metrics.f1, "f1")):
        theirs = getattr(reference, f"{name}_score")(truth, said, labels=labels, average=None, zero_division=np.nan)
        np.testing.assert_allclose(nan_as(ours(confusion)), nan_as(theirs))
    assert metrics.overall_accuracy(confusion) == pytest.approx(reference.accuracy_score(truth, said))
    assert metrics.weighted_recall(confusion) == metrics.overall_accuracy(confusion)


@given(sets)
def test_measures_of_agreement_are_those_of_scikit_learn(parameters: tuple[int, int, int]):
    truth, p = draw(*parameters)
    said = p.argmax(1)
    confusion = metrics.confusion_matrix(truth, said, parameters[2])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kappa, balanced = reference.cohen_kappa_score(truth, said), reference.balanced_accuracy_score(truth, said)
        correlation = reference.matthews_corrcoef(truth, said)
    assert metrics.balanced_accuracy(confusion) == pytest.approx(balanced)
    assert metrics.cohen_kappa(confusion) == pytest.approx(kappa, nan_ok=True)
    matthews = metrics.matthews(confusion)
    assert nan_as(matthews if np.isfinite(matthews) else 0) == pytest.approx(correlation)


@given(sets)
def test_measures_of_probabilities_are_those_of_scikit_learn(parameters: tuple[int, int, int]):
    truth, p = draw(*parameters)
    classes = parameters[2]
    p = np.round(p, 1)  # ties
    assert metrics.brier_score(truth, p) == pytest.approx(((p - np.eye(classes)[truth]) ** 2).sum(1).mean())
    for k in range(classes):
        positive = truth == k
        if positive.any():
            assert ranking.average_precision(positive, p[:, k]) == pytest.approx(
                reference.average_precision_score(positive, p[:, k])
            )
        else:
            assert np.isnan(ranking.average_precision(positive, p[:, k]))
        if 0 < positive.sum() < len(positive):
            assert ranking.roc_auc(positive, p[:, k]) == pytest.approx(reference.roc_auc_score(positive, p[:, k]))
        else:
            assert np.isnan(ranking.roc_auc(positive, p[:, k]))


@given(sets)
def test_top_k_is_that_of_scikit_learn(parameters: tuple[int, int, int]):
    truth, p = draw(parameters[0], parameters[1], max(parameters[2], 3))
    expected = reference.top_k_accuracy_score(truth, p, k=2, labels=range(p.shape[1]))
    assert metrics.top_k_accuracy(truth, p, 2) == pytest.approx(expected)
    assert metrics.top_k_accuracy(truth, p, p.shape[1]) == 1


@given(sets)
def test_the_reliability_curve_adds_up_to_the_calibration_error(parameters: tuple[int, int, int]):
    truth, p = draw(*parameters)
    confidence, accuracy, counts = metrics.reliability_curve(truth, p)
    assert counts.sum() == len(truth)
    gap = (abs(confidence - accuracy) * counts).sum() / len(truth)
    assert gap == pytest.approx(metrics.expected_calibration_error(truth, p))


def test_weights_choose_the_classes_that_count():
    confusion = np.array([[8, 2, 0], [5, 5, 0], [0, 0, 0]])
    weigh = metrics.weighted_recall
    assert weigh(confusion, np.array([3.0, 1.0, 0.0])) == pytest.approx((3 * 0.8 + 0.5) / 4)
    assert np.isnan(weigh(confusion, np.array([1.0, 1.0, 1.0])))
    with pytest.raises(ValueError, match="expected 3 weights"):
        weigh(confusion, np.array([1.0, -1.0, 0.0]))


def test_what_is_undefined_is_said():
    confusion = np.array([[3, 0, 0], [2, 0, 0], [0, 0, 0]])
    assert metrics.undefined(confusion, ["happy", "neutral", "sad"]) == (
        "neutral was never predicted: its precision is undefined",
        "sad was never predicted: its precision is undefined",
        "sad has no sample: its recall is undefined",
        "the labels or the answers are all of one class: Matthews' correlation is undefined",
    )
    assert metrics.undefined(confusion[:1], ["happy"])[-1].endswith("is undefined and so is Cohen's kappa")


def test_a_column_that_is_no_class_counts_as_an_error_only():
    """Two faces of class 0 were not found: recall falls, precision stays."""
    confusion = np.array([[4, 0, 2], [1, 5, 0]])
    np.testing.assert_allclose(metrics.recall(confusion), [4 / 6, 5 / 6])
    np.testing.assert_allclose(metrics.precision(confusion), [4 / 5, 1])
    assert metrics.overall_accuracy(confusion) == pytest.approx(9 / 12)
    padded = np.vstack([confusion, [0, 0, 0]])
    assert metrics.matthews(confusion) == metrics.matthews(padded)
    assert metrics.cohen_kappa(confusion) == metrics.cohen_kappa(padded)
    with pytest.raises(ValueError, match="expected a confusion matrix"):
        metrics.recall(np.ones((3, 2), np.int64))


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_that_of_scipy(case: tuple[int, int]):
    hits, samples = case
    theirs = stats.binomtest(hits, samples).proportion_ci(method="wilson")
    ours = intervals.wilson(hits, samples)
    assert ours == pytest.approx((hits / samples, theirs.low, theirs.high), abs=1e-9)


def test_wilson_without_samples_is_nan_and_refuses_nonsense():
    assert np.isnan(intervals.wilson(0, 0)).all()
    with pytest.raises(ValueError, match="found 3 of 2"):
        intervals.wilson(3, 2)


def test_the_bootstrap_agrees_with_scipys_on_the_samples():
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 3, 300)
    said = np.where(rng.random(300) < 0.7, truth, rng.integers(0, 3, 300))
    confusion = metrics.confusion_matrix(truth, said, 3)
    ours = intervals.bootstrap(metrics.overall_accuracy, confusion, intervals.resample(confusion))[0]
    theirs = stats.bootstrap(
        (truth == said,), np.mean, n_resamples=4000, method="percentile", rng=0
    ).confidence_interval
    assert ours == pytest.approx((np.mean(truth == said), theirs.low, theirs.high), abs=0.01)


def test_the_bootstrap_is_repeatable_and_holds_the_value():
    confusion = np.array([[50, 10], [5, 0]])
    drawn = intervals.resample(confusion, 500, seed=4)
    np.testing.assert_array_equal(drawn, intervals.resample(confusion, 500, seed=4))
    assert (drawn.sum(axis=(1, 2)) == 65).all()
    for estimate in intervals.bootstrap(metrics.f1, confusion, drawn):
        assert estimate.low <= estimate.value <= estimate.high
    assert np.isnan(intervals.bootstrap(metrics.recall, confusion * 0, intervals.resample(confusion * 0, 9))[0]).all()
