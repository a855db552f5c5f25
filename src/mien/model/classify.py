"""Crops -> expressions, in batches."""

from __future__ import annotations

import numpy as np

from mien.model.crop import Crops
from mien.model.session import Scores, Session
from mien.records import Expression

BATCH = 64
"""Crops in one call: past this, larger batches are no faster on a CPU and only take memory."""


def classify(session: Session, crops: Crops) -> list[Expression]:
    """One expression for each crop, in order.

    Args:
        session: the model.
        crops: uint8 `[N, H, W, C]` as the model's manifest says; N may be 0.
    """
    name = session.answer.name
    return [Expression(session.classes, tuple(row.tolist()), name) for row in probabilities_of(session, crops)]


def probabilities_of(session: Session, crops: Crops) -> Scores:
    """Probabilities, float32 `[N, K]`, of crops as `classify` takes them."""
    if len(crops) <= BATCH:
        return session.run(crops)[0]
    return np.concatenate([session.run(crops[start : start + BATCH])[0] for start in range(0, len(crops), BATCH)])
