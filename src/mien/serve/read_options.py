"""What a request may choose: the answer, the prior, which faces. From a query, or from parameters of the protocol."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from mien.checked_json import strict_json
from mien.model.manifest import Manifest
from mien.model.prior import EVEN, TRAINING, Prior, as_prior
from mien.serve.problems import RequestProblem

NAMES = ("answer", "prior", "prior_strength", "min_face", "min_score")
"""What may be chosen, as queries and protocol parameters call it."""

MAX_MIN_FACE = 100_000.0
SHOWN = 40
"""So much of a wrong value is shown in the error."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How pictures are to be read.

    Attributes:
        answer: which of the model's answers, by name; None: the server's.
        prior: the mix of classes to expect; None: the server's.
        min_face: smallest face wanted, pixels; None: the server's.
        min_score: least confidence of the detector, 0..1; None: the server's.
        draw: whether the drawn picture is wanted.
    """

    answer: str | None = None
    prior: Prior | None = None
    min_face: float | None = None
    min_score: float | None = None
    draw: bool = False

    def about(self, manifest: Manifest) -> dict[str, str | None]:
        """The answer and the prior, as responses name them."""
        return {"answer": manifest.answer(self.answer).name or None, "prior": str(self.prior or Prior())}


def parse_read_options(given: Mapping[str, object], *, draw: bool = False) -> ReadOptions:
    """Read what is chosen. Names that are not in `NAMES` are somebody else's.

    Args:
        given: texts of a query, or texts and numbers of protocol parameters; an empty text is not given.
        draw: see `ReadOptions`.

    Raises:
        RequestProblem: 422, a value out of range or of another kind.
        DatasetError: shares of a prior that make no sense.
    """
    found = {name: given[name] for name in NAMES if given.get(name) not in (None, "")}
    answer = found.get("answer")
    if answer is not None and not isinstance(answer, str):
        raise _wrong("answer", "the name of an answer", answer)
    return ReadOptions(
        answer,
        _prior(found.get("prior"), _number(found, "prior_strength", 0, 1, "a number")),
        _number(found, "min_face", 1, MAX_MIN_FACE, "pixels"),
        _number(found, "min_score", 0, 1, "a number"),
        draw,
    )


def _prior(given: object, strength: float | None) -> Prior | None:
    """A name or shares as JSON. A path is neither: the server opens nothing that a client names."""
    how_far = 1.0 if strength is None else strength
    if given is None:
        return None
    if given in (TRAINING, EVEN):
        return as_prior(cast(str, given), how_far)
    try:
        shares = strict_json(given) if isinstance(given, str) else given
        if not isinstance(shares, dict) or not shares:
            raise ValueError
        return as_prior({str(name): float(share) for name, share in cast("dict[str, float]", shares).items()}, how_far)
    except (ValueError, TypeError):
        raise _wrong("prior", f'{TRAINING}, {EVEN} or JSON such as {{"happy": 0.3, ...}}', given) from None


def _number(given: Mapping[str, object], name: str, least: float, most: float, unit: str) -> float | None:
    if name not in given:
        return None
    value = given[name]
    try:
        number = math.nan if isinstance(value, bool) else float(cast("str | float", value))
    except (TypeError, ValueError):
        number = math.nan
    if not least <= number <= most:
        raise _wrong(name, f"{unit} from {least:g} to {most:g}", value)
    return number


def _wrong(name: str, expected: str, found: object) -> RequestProblem:
    return RequestProblem(422, f"{name}: expected {expected}, found {str(found)[:SHOWN]!r}")
