"""What must hold before an alias moves: the bundle verifies, has the classes that clients expect, and is not worse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mien.dataset import Split
from mien.detect import Detector
from mien.errors import MienError, RegistryError
from mien.model.bundle import Bundle
from mien.model.session import Session
from mien.model.verify_in_process import verify_once


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """One check: `passed` is None where there was nothing to check. `detail` goes into the history."""

    name: str
    passed: bool | None
    detail: str


def check_candidate(
    candidate: Bundle,
    current: Bundle | None,
    *,
    new_classes: bool = False,
    data: Split | None = None,
    detector: Detector | None = None,
    threads: int = 0,
) -> tuple[CheckOutcome, ...]:
    """Check a bundle before it is promoted.

    Args:
        candidate: the bundle that is to serve.
        current: the one that serves now; None: none does.
        new_classes: let the classes differ from those of `current`.
        data: labeled pictures on which the candidate must not be worse than `current`; None: not compared.
        detector: finds the faces in `data`; None: its pictures are faces.
        threads: CPU threads; 0 takes every core.

    Raises:
        DatasetError: `data` fits neither model.
    """
    try:
        checks = [CheckOutcome(c.name, c.passed, c.detail) for c in verify_once(candidate)]
    except MienError as error:
        return (CheckOutcome("graph", False, str(error)),)
    if current is not None:
        checks.append(_check_classes(candidate, current, allowed=new_classes))
        if data is not None:
            checks.append(_check_not_worse(candidate, current, data, detector, threads))
    return tuple(checks)


def require_seal(bundle: Bundle) -> None:
    """Refuse a bundle without a seal.

    Raises:
        RegistryError: it has none.
    """
    if not bundle.sealed:
        raise RegistryError(
            f"{bundle.path}: expected a sealed bundle, as `mien export` writes; this file carries no seal, so that "
            "later changes to it would not show"
        )


def require(checks: Sequence[CheckOutcome], what: str) -> dict[str, str]:
    """The checks as the history keeps them.

    Raises:
        RegistryError: one failed; names each that did.
    """
    failed = [f"{check.name}: {check.detail}" for check in checks if check.passed is False]
    if failed:
        raise RegistryError(f"{what} is not promoted: {'; '.join(failed)}")
    return {check.name: check.detail for check in checks}


def _check_classes(candidate: Bundle, current: Bundle, *, allowed: bool) -> CheckOutcome:
    before, after = current.manifest.classes, candidate.manifest.classes
    if before == after:
        return CheckOutcome("classes", True, ", ".join(after))
    detail = f"{', '.join(before)} become {', '.join(after)}"
    return CheckOutcome("classes", None if allowed else False, detail + (" (allowed)" if allowed else ""))


def _check_not_worse(
    candidate: Bundle, current: Bundle, data: Split, detector: Detector | None, threads: int
) -> CheckOutcome:
    """Worse means: right less often, by more than chance (McNemar's test)."""
    # Late: a server that promotes without data need not load what measures.
    from mien.measure.compare import compare
    from mien.report.comparison_text import verdict

    comparison = compare(Session(current, threads), Session(candidate, threads), data, detector=detector)
    return CheckOutcome("not worse", comparison.difference.better != "A", f"A serves, B is new: {verdict(comparison)}")
