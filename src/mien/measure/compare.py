"""Two models on the same samples -> which one is right more often, where they disagree, and whether it is chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mien.dataset import Sample, Split, match_classes
from mien.detect import Detector
from mien.errors import DatasetError
from mien.measure.evaluate import Evaluation, evaluate
from mien.measure.intervals import RESAMPLES
from mien.measure.metrics import Truth
from mien.measure.significance import Difference, difference, joint_table
from mien.media.limits import USUAL, Limits
from mien.model.bundle import Bundle
from mien.model.manifest import Answer
from mien.model.prior import Prior
from mien.model.session import Session
from mien.progress import SILENT, PartOfProgress, Progress


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Two models measured on one split, sample by sample.

    Attributes:
        a, b: each model's evaluation, over the same classes; equal when the two are the same model.
        same_model: both files hold the same bytes and say the same about themselves.
        left_out: classes of the data that not both models know; their samples are in no number.
        samples: the N pictures both could read; the rest belongs to `failures`.
        rows_a, rows_b: int `[N]`, each sample's row in `a.probabilities` and `b.probabilities`, -1 without a face.
        difference: B minus A, over `samples`.
    """

    a: Evaluation
    b: Evaluation
    same_model: bool
    left_out: tuple[str, ...]
    samples: tuple[Sample, ...]
    rows_a: Truth
    rows_b: Truth
    difference: Difference

    @property
    def classes(self) -> tuple[str, ...]:
        """What was compared: known to both models and to the data, canonical names, sorted."""
        return self.a.match.classes

    @property
    def missed(self) -> tuple[Sample, ...]:
        """Samples in which no face was found: errors of both."""
        rows = zip(self.samples, np.maximum(self.rows_a, self.rows_b).tolist(), strict=True)
        return tuple(sample for sample, row in rows if row < 0)

    @property
    def failures(self) -> tuple[str, ...]:
        """A sentence for each picture that could not be read."""
        return tuple(dict.fromkeys([*self.a.failures, *self.b.failures]))

    def answers(self) -> tuple[Truth, Truth]:
        """What A and what B said of each sample, int `[N]`: an index into `classes`, or their number without a face."""
        return _answers(self.a, self.rows_a), _answers(self.b, self.rows_b)


def compare(
    a: Bundle | Session,
    b: Bundle | Session,
    split: Split,
    *,
    detector: Detector | None = None,
    shared_only: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
    limits: Limits = USUAL,
    progress: Progress = SILENT,
) -> Comparison:
    """Measure two models on a split, over the classes that both and the data share.

    Each model's probabilities are restricted to these classes and renormalized, so that none is punished or spared for
    answers the other cannot give.

    Args:
        a, b: bundles (opened here on every core) or open sessions; the same model twice is measured once.
        split: labeled pictures; each is taken as one cropped face unless there is a detector.
        detector: finds the face, for both models; a photo without one is an error of both.
        shared_only: leave out samples of classes that not both models know, instead of refusing them.
        resamples: of the bootstrap intervals, seeded with `seed`.
        limits: of the pictures.
        progress: is told how far the work is, with A or B named in what is being done.

    Raises:
        DatasetError: as `evaluate` does; also fewer than two classes that all three share.
    """
    shared = _shared_classes(a, b, split, shared_only)
    chosen = replace(split, classes=shared, samples=tuple(s for s in split.samples if s.label in shared))

    def measure(name: str, model: Bundle | Session) -> Evaluation:
        return evaluate(
            model, chosen, detector=detector, resamples=resamples, seed=seed, limits=limits,
            progress=PartOfProgress(progress, prefix=f"{name}: "),
        )  # fmt: skip

    same = (
        _bundle(a).model == _bundle(b).model and _bundle(a).manifest == _bundle(b).manifest and _asked(a) == _asked(b)
    )
    of_a = measure("A", a)
    of_b = of_a if same else measure("B", b)
    left_out = tuple(c for c in split.classes if c not in shared)
    return _pair(of_a, of_b, same, left_out, resamples, seed)


def _asked(model: Bundle | Session) -> tuple[Answer, Prior]:
    return (model.answer, model.prior) if isinstance(model, Session) else (model.manifest.answer(), Prior())


def _bundle(model: Bundle | Session) -> Bundle:
    return model.bundle if isinstance(model, Session) else model


def _shared_classes(a: Bundle | Session, b: Bundle | Session, split: Split, shared_only: bool) -> tuple[str, ...]:
    """Sorted canonical names."""
    known: list[Sequence[str]] = []
    for name, model in (("A", a), ("B", b)):
        manifest = _bundle(model).manifest
        classes = model.classes if isinstance(model, Session) else manifest.classes
        try:
            known.append(match_classes(classes, split.classes, shared_only=shared_only).classes)
        except DatasetError as error:
            raise DatasetError(f"model {name} ({manifest.name}): {error}") from error
    shared = tuple(c for c in known[0] if c in known[1])
    if len(shared) < 2:
        raise DatasetError(
            f"expected at least two classes that both models and the data share, found {', '.join(shared) or 'none'} "
            f"(A and data: {', '.join(known[0])}; B and data: {', '.join(known[1])})"
        )
    return shared


def _pair(
    a: Evaluation, b: Evaluation, same_model: bool, left_out: tuple[str, ...], resamples: int, seed: int
) -> Comparison:
    row_in_a, row_in_b = _rows(a), _rows(b)
    by_path = {s.path: s for s in [*a.samples, *a.missed]}
    paths = sorted(path for path in by_path if path in row_in_b)
    if not paths:
        raise DatasetError(f"{a.data}: no picture could be read for both models")
    samples = tuple(by_path[path] for path in paths)
    rows_a, rows_b = (np.array([rows[path] for path in paths], np.int64) for rows in (row_in_a, row_in_b))
    classes = a.match.classes
    truth = np.array([classes.index(s.label) for s in samples], np.int64)
    joint = joint_table(truth, _answers(a, rows_a), _answers(b, rows_b), len(classes))
    found = difference(joint, classes, resamples=resamples, seed=seed)
    return Comparison(a, b, same_model, left_out, samples, rows_a, rows_b, found)


def _rows(evaluation: Evaluation) -> dict[Path, int]:
    rows = {s.path: row for row, s in enumerate(evaluation.samples)}
    return rows | {s.path: -1 for s in evaluation.missed}


def _answers(evaluation: Evaluation, rows: Truth) -> Truth:
    # The last one is what row -1 finds: no face, no class.
    said = np.append(evaluation.probabilities.argmax(axis=1), len(evaluation.match.classes))
    return said[rows].astype(np.int64)
