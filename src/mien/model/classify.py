"""Crops -> expressions, in batches."""

from __future__ import annotations

from mien.model.crop import Crops
from mien.model.session import Session
from mien.records import Expression

BATCH = 64
"""Crops in one call: past this, larger batches are no faster on a CPU and only take memory."""


def classify(session: Session, crops: Crops) -> list[Expression]:
    """One expression for each crop, in order.

    Args:
        session: the model.
        crops: uint8 `[N, H, W, C]` as the model's manifest says; N may be 0.
    """
    expressions: list[Expression] = []
    for start in range(0, len(crops), BATCH):
        probabilities, _ = session.run(crops[start : start + BATCH])
        expressions += [Expression(session.classes, tuple(row.tolist()), session.answer.name) for row in probabilities]
    return expressions
