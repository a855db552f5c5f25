"""Checks a bundle: is it whole, does its graph agree with its manifest, does it still compute what its trainer saw?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mien.errors import BundleError
from mien.model import onnxfile
from mien.model.bundle import Bundle
from mien.model.session import Session

FACES = (1, 2, 5)
"""Numbers of faces that must each give an answer in one call."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check: `passed` is None where there was nothing to check."""

    name: str
    passed: bool | None
    detail: str


def verify_bundle(
    bundle: Bundle, threads: int = 0, device: str = "cpu", *, session: Session | None = None
) -> tuple[Check, ...]:
    """Seal, weights, graph against manifest, golden vectors; on another device than the CPU also what runs there.

    Args:
        bundle: the model.
        threads: see `Session`.
        device: see `Session`.
        session: the open bundle, where it is open already.

    Raises:
        BundleError: the graph does not load, or contradicts the manifest.
        DeviceError: the device cannot be used.
    """
    session = session or Session(bundle, threads, device=device)
    where = (Check("device", True, str(session.placement)),) if session.placement else ()
    return (
        Check(
            "seal",
            True if bundle.sealed else None,
            "the file is as it was made" if bundle.sealed else "no seal (not made by mien)",
        ),
        _check_weights(bundle),
        *where,
        Check("graph", True, "its inputs and outputs are those of the manifest"),
        _check_runs(session),
        _check_golden(bundle, session),
    )


def _check_weights(bundle: Bundle) -> Check:
    expected, found = bundle.manifest.weights_sha256, onnxfile.graph_sha256(bundle.model, str(bundle.path))
    if not expected:
        return Check("weights", None, f"the manifest names no sha256; the graph's is {found}")
    return Check(
        "weights",
        expected == found,
        f"sha256 {found}" if expected == found else f"expected sha256 {expected}, found {found}",
    )


def _check_runs(session: Session) -> Check:
    """Whether it computes anything of use, with golden vectors or without: shapes, finite values, sums of 1."""
    spec = session.manifest.input
    noise = np.random.default_rng(0).integers(0, 256, (max(FACES), spec.height, spec.width, spec.channels), np.uint8)
    try:
        for one in session.each_answer():
            for count in FACES:
                one.run(noise[:count])
    except BundleError as error:
        return Check("runs", False, str(error))
    return Check("runs", True, f"{', '.join(map(str, FACES))} faces give finite probabilities that sum to 1")


def _check_golden(bundle: Bundle, session: Session) -> Check:
    golden = bundle.golden
    if golden is None:
        return Check("golden vectors", None, "none in this file")
    worst = 0.0
    for one in session.each_answer():
        probabilities, _ = one.run(golden.crops)
        worst = max(worst, float(np.abs(probabilities - golden.of(one.answer, bundle.manifest)).max(initial=0)))
    answers = f" of answers {', '.join(a.name for a in bundle.manifest.answers)}" if bundle.manifest.answers else ""
    detail = f"{len(golden.crops)} crops{answers}, largest difference {worst:.1e} (tolerance {golden.tolerance:.0e})"
    if worst > golden.tolerance and session.placement:
        detail += f"; {session.placement.device} computes this model otherwise: use cpu, or a model in floats (large)"
    return Check("golden vectors", worst <= golden.tolerance, detail)
