"""How sure a measured number is: intervals for proportions and for anything computed from a confusion matrix."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
LEVEL = 0.95


class Estimate(NamedTuple):
    """A measured value and its interval; NaN where it is undefined."""

    value: float
    low: float
    high: float


def wilson(hits: int, samples: int, level: float = LEVEL) -> Estimate:
    """A proportion with its score interval (Wilson 1927); sound near 0 and 1, where a bootstrap has no width.

    Args:
        hits: 0..samples.
        samples: 0 gives NaN.
        level: share of such intervals that hold the true proportion, between 0 and 1.
    """
    if not 0 <= hits <= samples:
        raise ValueError(f"expected 0 <= hits <= samples, found {hits} of {samples}")
    if not samples:
        return Estimate(math.nan, math.nan, math.nan)
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share, scale = hits / samples, 1 + z**2 / samples
    center = (share + z**2 / (2 * samples)) / scale
    reach = z * math.sqrt(share * (1 - share) / samples + z**2 / (4 * samples**2)) / scale
    return Estimate(share, min(max(center - reach, 0.0), share), max(min(center + reach, 1.0), share))


def resample(confusion: NDArray[np.int64], resamples: int = RESAMPLES, seed: int = 0) -> NDArray[np.int64]:
    """Confusion matrices `[resamples, K, C]` of samples drawn with replacement, as many as there were.

    Drawing samples and counting them is drawing the counts from a multinomial, which needs no sample.
    """
    total = int(confusion.sum())
    shares = confusion.ravel() / max(total, 1)
    if not total:
        return np.zeros((resamples, *confusion.shape), np.int64)
    drawn = np.random.default_rng(seed).multinomial(total, shares, size=resamples)
    return drawn.reshape(resamples, *confusion.shape)


def bootstrap(
    measure: Callable[[NDArray[np.int64]], NDArray[np.float64]],
    confusion: NDArray[np.int64],
    resampled: NDArray[np.int64],
    level: float = LEVEL,
) -> list[Estimate]:
    """Percentile intervals (Efron 1979) of a measure of the confusion matrix.

    Args:
        measure: `[..., K, C]` -> `[...]` or `[..., K]`, as in `mien.measure.metrics`.
        confusion: `[K, C]`, the matrix that was measured.
        resampled: what `resample` made of it.
        level: share of the resamples' values that lie inside.

    Returns:
        one estimate, or one a class. Resamples in which the measure is undefined are left out.
    """
    values = np.atleast_1d(measure(confusion))
    spread = measure(resampled).reshape(len(resampled), len(values))
    return [Estimate(float(values[k]), *percentiles(spread[:, k], level)) for k in range(len(values))]


def percentiles(values: NDArray[np.float64], level: float = LEVEL) -> tuple[float, float]:
    """The middle `level` of values `[N]`; those that are NaN are left out, NaN when all are."""
    known = values[np.isfinite(values)]
    if not len(known):
        return math.nan, math.nan
    low, high = np.quantile(known, [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high)
