"""Pictures that are nearly the same: candidates by a code that copies share, verified by correlation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.dataset.fingerprint import TURNS, Spectra, Thumbnails, spectra, turned

CODE_BITS = 20
"""Bits of a picture's code: the signs of its lowest frequencies."""

WEAK_BITS = 6
"""A picture is looked up under its code and under those that differ in these, its faintest frequencies. Measured on
510 crops of FER2013: over 99 % of copies that were compressed, resized or given noise share one; of those cropped by a
pixel all round that still correlate enough, 94 %."""

MIN_LIKENESS = 0.9
"""Correlation of the low frequencies, -1..1: pairs below it are not compared pixel by pixel."""

MIN_CORRELATION = 0.95
"""Two thumbnails that correlate less may be two pictures: measured on FER2013, see docs/measure/audit.md."""

CHUNK = 1 << 17
"""Candidates compared by their frequencies in one go: memory stays bounded however many there are."""

PIXEL_CHUNK = 1 << 12
"""Candidates compared by their thumbnails in one go."""

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class NearPairs:
    """P pairs of rows, `first < second`, the most alike first.

    Attributes:
        first, second: int `[P]`.
        correlation: float `[P]`, -1..1, of the thumbnails when `second` is turned as `turn` says.
        turn: int `[P]`, index into `TURNS`: what makes the second picture look like the first.
    """

    first: Rows
    second: Rows
    correlation: NDArray[np.float64]
    turn: Rows

    def rows(self) -> Iterator[tuple[int, int, float, int]]:
        """(first, second, correlation, turn) of each pair."""
        yield from zip(
            self.first.tolist(), self.second.tolist(), self.correlation.tolist(), self.turn.tolist(), strict=True
        )


def near_pairs(thumbnails: Thumbnails, groups: Rows, keys: Rows, min_correlation: float = MIN_CORRELATION) -> NearPairs:
    """Pairs that look the same in one of the 8 ways of turning and mirroring a picture.

    The search is by buckets: no picture is compared with all others. For each picture at most two pairs are kept: the
    closest in its own group and the closest in the others. So P stays of the order of N.

    Args:
        thumbnails: uint8 `[N, S, S]`; ones without contrast are like none.
        groups: int `[N]`, each picture's split.
        keys: int `[N]`; two pictures with the same key are no pair.
        min_correlation: least correlation of a pair.
    """
    low = spectra(thumbnails)
    flat: NDArray[np.bool_] = np.ptp(thumbnails.reshape(len(thumbnails), -1), axis=1) == 0
    found: list[tuple[Rows, Rows, NDArray[np.float64], Rows]] = []
    for turn in range(len(TURNS)):
        for first, second in _candidates(low, spectra(turned(thumbnails, turn))):
            usable = ~(flat[first] | flat[second]) & (keys[first] != keys[second])
            first, second = first[usable], second[usable]
            match = _correlations(thumbnails, first, second, turn)
            good = match >= min_correlation
            # What is told is the turn that makes the later picture look like the earlier one.
            swap = first[good] > second[good]
            a, b = np.where(swap, second[good], first[good]), np.where(swap, first[good], second[good])
            found.append((a, b, match[good], np.where(swap, _INVERSE[turn], turn)))
    return _best(found, groups)


def _candidates(one: Spectra, other: Spectra) -> Iterator[tuple[Rows, Rows]]:
    """Rows (i, j), i != j, where one[i] and other[j] are alike and share one of the codes of other[j]."""
    codes = _codes(one)
    order = np.argsort(codes, kind="stable")
    codes = codes[order]
    for wanted in _probes(other):
        low = np.searchsorted(codes, wanted, "left")
        counts = np.searchsorted(codes, wanted, "right") - low
        ends = np.cumsum(counts)
        start = 0
        while start < len(wanted):
            done = int(ends[start - 1]) if start else 0
            stop = max(int(np.searchsorted(ends, done + CHUNK, "right")), start + 1)
            rows = np.repeat(np.arange(start, stop), counts[start:stop])
            within = np.arange(len(rows)) - np.repeat(ends[start:stop] - counts[start:stop] - done, counts[start:stop])
            partners = order[low[rows] + within]
            alike = (np.einsum("nf,nf->n", one[partners], other[rows]) >= MIN_LIKENESS) & (partners != rows)
            if alike.any():
                yield partners[alike], rows[alike]
            start = stop


def _codes(low: Spectra) -> Rows:
    bits: Rows = (low[:, :CODE_BITS] > 0).astype(np.int64)
    return bits @ _PLACES


def _probes(low: Spectra) -> Iterator[Rows]:
    """The code of each picture, and those with every choice of its weak bits turned over: `2 ** WEAK_BITS` arrays."""
    codes = _codes(low)
    weak = _PLACES[np.argsort(np.abs(low[:, :CODE_BITS]), axis=1, kind="stable")[:, :WEAK_BITS]]
    for choice in range(1 << WEAK_BITS):
        chosen = [bit for bit in range(WEAK_BITS) if choice >> bit & 1]
        yield codes ^ weak[:, chosen].sum(axis=1)


def _best(found: list[tuple[Rows, Rows, NDArray[np.float64], Rows]], groups: Rows) -> NearPairs:
    """Each pair once, and of each picture only its best pair within its group and its best pair across groups."""
    if not found:
        nothing = np.empty(0, np.int64)
        return NearPairs(nothing, nothing, np.empty(0), nothing)
    first, second, match, turn = (np.concatenate(part) for part in zip(*found, strict=True))
    count = len(groups)
    order = np.lexsort((turn, second, first, -match))
    once = np.sort(np.unique(first[order] * count + second[order], return_index=True)[1])
    order = order[once]
    first, second, match, turn = first[order], second[order], match[order], turn[order]
    across = groups[first] != groups[second]
    keep = np.zeros(len(first), np.bool_)
    for rows in (first, second):
        keep[np.unique(rows + count * across, return_index=True)[1]] = True
    return NearPairs(first[keep], second[keep], match[keep], turn[keep])


def _correlations(thumbnails: Thumbnails, first: Rows, second: Rows, turn: int) -> NDArray[np.float64]:
    """Float `[P]`, -1..1, of each first thumbnail with its second, turned; both need contrast."""
    found = np.empty(len(first), np.float64)
    for start in range(0, len(first), PIXEL_CHUNK):
        part = slice(start, start + PIXEL_CHUNK)
        one = _centered(thumbnails[first[part]])
        other = _centered(turned(thumbnails[second[part]], turn))
        lengths = np.sqrt((one * one).sum(axis=1) * (other * other).sum(axis=1))
        found[part] = np.clip((one * other).sum(axis=1) / lengths, -1, 1)
    return found


def _centered(thumbnails: Thumbnails) -> NDArray[np.float64]:
    flat = thumbnails.reshape(len(thumbnails), -1).astype(np.float64)
    return flat - flat.mean(axis=1, keepdims=True)


_PLACES: Rows = 1 << np.arange(CODE_BITS, dtype=np.int64)
_INVERSE = np.array([0, 3, 2, 1, 4, 5, 6, 7])
"""A turn -> the turn that undoes it: a mirroring undoes itself, whatever turn follows it."""
