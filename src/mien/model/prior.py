"""The mix of classes that a model expects: that of its training, an even one, or one that is known of the data.

A model learns how common each class is where it was trained, and leans that way when it is unsure. Where another mix is
known, Bayes' rule says how to lean instead: log p(class | face) + log new share - log training share, up to a constant.
A strength between 0 and 1 goes only a part of the way. With an even mix that is `logit - strength x log(prior)`, the
logit adjustment of Menon et al. (arXiv 2007.07314, equation 9).
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from mien.checked_json import strict_json
from mien.errors import BundleError, DatasetError, reason
from mien.model.manifest import Answer

TRAINING, EVEN = "training", "even"

MAX_CHARACTERS = 1_000_000
"""A longer file holds no shares of classes; a device has no end."""


@dataclass(frozen=True, slots=True)
class Prior:
    """A mix of classes to expect.

    Attributes:
        name: "training", "even", or where the shares come from.
        shares: class -> share, not negative and not all 0; empty for the first two.
        strength: how much of the way to go from the training's mix to this one, 0..1.

    Raises:
        DatasetError: a share that is negative or no number, shares that sum to nothing, a strength outside 0..1.
    """

    name: str = TRAINING
    shares: Mapping[str, float] = field(default_factory=dict[str, float])
    strength: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:  # also refuses NaN
            raise DatasetError(f"expected a strength of the prior from 0 to 1, found {self.strength:g}")
        if self.name in (TRAINING, EVEN):
            return
        for name, share in self.shares.items():
            if not (math.isfinite(share) and share >= 0):
                raise DatasetError(f"prior {self.name}: expected shares of 0 or more, found {share:g} for {name!r}")
        names = [name.strip().lower() for name in self.shares]
        if twice := [name for name in names if names.count(name) > 1]:
            raise DatasetError(f"prior {self.name}: {twice[0][:60]!r} has two shares; name it once")
        if not 0 < sum(self.shares.values()) < math.inf:
            raise DatasetError(
                f"prior {self.name}: expected shares that sum to more than 0 and not to infinity, "
                f"found {sum(self.shares.values()):g}"
            )

    @property
    def is_training(self) -> bool:
        """Whether it leaves the answers as they were learned."""
        return self.name == TRAINING or not self.strength

    def __str__(self) -> str:
        return self.name if self.strength == 1 or self.is_training else f"{self.name}, strength {self.strength:g}"

    def shift(self, answer: Answer, model: str) -> NDArray[np.float32] | None:
        """What to add to each class's log probability: float32 `[K]`, or None where nothing changes.

        Args:
            answer: whose prior was learned.
            model: its model's name, for errors.

        Raises:
            BundleError: the bundle does not say what mix the answer was trained on.
            DatasetError: the prior lacks one of the answer's classes, or names one that the answer has not.
        """
        if self.is_training:
            return None
        if not answer.prior:
            raise BundleError(
                f"model {model!r} does not say how common each class was in its training, so no other prior can take "
                "its place; leave the prior as it is (training), or export the model again with this version"
            )
        learned = np.array([answer.prior[c] for c in answer.classes], np.float64)
        wanted = np.ones(len(learned)) if self.name == EVEN else self._of(answer.classes)
        with np.errstate(divide="ignore"):  # a class that cannot come: its log is -inf, its probability 0
            logs = np.log(wanted / wanted.sum()) - np.log(learned / learned.sum())
        return (self.strength * logs).astype(np.float32)

    def _of(self, classes: Sequence[str]) -> NDArray[np.float64]:
        shares = {name.strip().lower(): share for name, share in self.shares.items()}
        missing = [c for c in classes if c.lower() not in shares]
        unknown = sorted(set(shares) - {c.lower() for c in classes})
        if missing or unknown:
            found = f"no {', '.join(missing)}" if missing else f"{', '.join(unknown)} too"
            raise DatasetError(f"prior {self.name}: expected a share for each of {', '.join(classes)}; found {found}")
        return np.array([shares[c.lower()] for c in classes], np.float64)


def as_prior(given: str | os.PathLike[str] | Mapping[str, float] | Prior | None, strength: float = 1.0) -> Prior:
    """A prior from what a user gives.

    Args:
        given: "training" or None, "even", class -> share, or the path of a file of them: JSON (`{"happy": 0.3, ...}`)
            or CSV (`class,share`, with or without such a first line).
        strength: 0..1.

    Raises:
        DatasetError: no such file, not a file of shares, or shares that make no sense.
    """
    if isinstance(given, Prior):
        return given
    if given is None:
        return Prior(strength=strength)
    if isinstance(given, Mapping):
        return Prior("given", {str(name): float(share) for name, share in given.items()}, strength)
    if given in (TRAINING, EVEN):
        return Prior(str(given), strength=strength)
    path = Path(given)
    try:
        with path.open(encoding="utf-8-sig") as file:
            text = file.read(MAX_CHARACTERS + 1)
    except (OSError, ValueError) as error:  # ValueError: no text, or a name that no file system takes
        why = reason(error) if isinstance(error, OSError) else "it is not text"
        raise DatasetError(
            f"prior {str(given)[:200]}: expected training, even, or a readable file of shares; {why}"
        ) from None
    if len(text) > MAX_CHARACTERS:
        raise DatasetError(f"prior {given}: expected a file of shares, found more than {MAX_CHARACTERS:,} characters")
    return Prior(path.name, _parse(text, path), strength)


def _parse(text: str, path: Path) -> dict[str, float]:
    try:
        if text.lstrip().startswith("{"):
            found = cast("dict[str, Any]", strict_json(text))
            return {name: float(share) for name, share in found.items()}
        rows = [row for row in csv.reader(io.StringIO(text)) if any(cell.strip() for cell in row)]
        if rows and [cell.strip().lower() for cell in rows[0]] == ["class", "share"]:
            rows = rows[1:]
        shares = {name.strip(): float(share) for name, share in rows}
        if len(shares) != len(rows):
            raise ValueError("a class stands there twice")
        return shares
    except (ValueError, TypeError, csv.Error) as error:
        raise DatasetError(
            f'prior {path}: expected JSON ({{"happy": 0.3, ...}}) or CSV lines (happy,0.3); {str(error)[:200]}'
        ) from None
