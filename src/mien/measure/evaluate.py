"""A model on a data set -> what it got right, what wrong, and every number about it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from mien.dataset import ClassMatch, Sample, Split, canonical, match_classes
from mien.dataset.fingerprint import pixel_key
from mien.detect import Detector
from mien.detect.whole import WholeDetector
from mien.errors import DatasetError, MediaError
from mien.measure.agreement import AnnotatorAgreement, annotators_of
from mien.measure.corruptions import CORRUPTIONS, STRENGTHS, corrupt
from mien.measure.human_scale import HumanScale, human_scale
from mien.measure.intervals import RESAMPLES, Estimate, wilson
from mien.measure.metrics import Probabilities, Truth, restrict
from mien.measure.scores import Scores, score
from mien.media.image import read_image
from mien.media.limits import USUAL, Limits
from mien.model.bundle import Bundle
from mien.model.classify import BATCH
from mien.model.crop import Crops
from mien.model.prior import TRAINING
from mien.model.session import Session
from mien.pipeline import Stages
from mien.progress import SILENT, Progress
from mien.records import Face, Frame, Image


@dataclass(frozen=True, slots=True)
class RepeatedPictures:
    """Pictures that stand in the training split too, pixel for pixel, and what is left without them."""

    count: int
    accuracy_without: Estimate


@dataclass(frozen=True, slots=True)
class Slice:
    """The samples that share one value of a metadata column."""

    value: str
    scores: Scores


@dataclass(frozen=True, slots=True)
class AccuracyGap:
    """Accuracy of the best group minus that of the worst, 0..1; of equals, the first by name."""

    best: str
    worst: str
    difference: float


@dataclass(frozen=True, slots=True)
class CorruptionResult:
    """Accuracy under damage: kind -> one value per strength, weak to strong.

    `mean_error` is the mean of 1 - accuracy over all kinds and strengths: the mCE of Hendrycks and Dietterich 2019
    (arXiv 1903.12261), section 4.1, without the division by another network's errors.
    """

    accuracies: Mapping[str, tuple[float, ...]]
    mean_error: float


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """A model measured on one split.

    Attributes:
        model: the bundle's name and `model_sha256` that of its file.
        data, split: what it was measured on.
        match: which classes were compared.
        samples: the N measured samples, in the split's order; pictures are not kept.
        faces: where each one's face is, when a detector looked for it; else empty (the picture is the face).
        truth: int `[N]`, index into `match.classes`.
        probabilities: float `[N, K]`, over `match.classes`, rows summing to 1.
        missed: samples in which the detector found no face.
        failures: a sentence for each picture that could not be read; these are in no number.
        tta: "flip", or "" for one look at each face.
        detector: its name, or "".
        answer: which of the model's answers was measured; "" for one without a name.
        prior: the mix of classes that the model expected.
        human: the model and the people who voted, on the same pictures, where the data has votes.
        annotators: what people saw in the pictures, where the data has votes.
    """

    model: str
    model_sha256: str
    data: str
    split: str
    match: ClassMatch
    samples: tuple[Sample, ...]
    faces: tuple[Face, ...]
    truth: Truth
    probabilities: Probabilities
    missed: tuple[Sample, ...]
    failures: tuple[str, ...]
    scores: Scores
    tta: str = ""
    detector: str = ""
    answer: str = ""
    prior: str = "training"
    repeats: RepeatedPictures | None = None
    annotators: AnnotatorAgreement | None = None
    human: HumanScale | None = None
    by: str = ""
    slices: tuple[Slice, ...] = ()
    corrupted: CorruptionResult | None = None

    @property
    def title(self) -> str:
        """The model, with the answer where it gives several, and the prior where that is not the training's."""
        prior = "" if self.prior == TRAINING else f"prior {self.prior}"
        told = ", ".join(filter(None, (self.answer, prior)))
        return f"{self.model} ({told})" if told else self.model

    @property
    def gap(self) -> AccuracyGap | None:
        """Between the best and the worst of `slices`; None with fewer than two."""
        if len(self.slices) < 2:
            return None
        best = max(self.slices, key=lambda part: part.scores.accuracy.value)
        worst = min(self.slices, key=lambda part: part.scores.accuracy.value)
        return AccuracyGap(best.value, worst.value, best.scores.accuracy.value - worst.scores.accuracy.value)


@dataclass(slots=True)
class _Run:
    """What grows while samples stream by; batches of crops, never pictures."""

    samples: list[Sample] = field(default_factory=list[Sample])
    faces: list[Face] = field(default_factory=list[Face])
    truth: list[int] = field(default_factory=list[int])
    probabilities: list[Probabilities] = field(default_factory=list[Probabilities])
    keys: list[str] = field(default_factory=list[str])
    missed: list[Sample] = field(default_factory=list[Sample])
    failures: list[str] = field(default_factory=list[str])
    damaged_hits: dict[tuple[str, int], int] = field(default_factory=dict[tuple[str, int], int])


def evaluate(
    model: Bundle | Session,
    split: Split,
    *,
    detector: Detector | None = None,
    train: Split | None = None,
    weights: Mapping[str, float] | None = None,
    shared_only: bool = False,
    flip: bool = False,
    by: str = "",
    corruptions: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
    limits: Limits = USUAL,
    progress: Progress = SILENT,
) -> Evaluation:
    """Measure a model on a split, picture by picture: memory does not grow with the pictures.

    Args:
        model: a bundle (opened here on every core) or an open session.
        split: labeled pictures; each is taken as one cropped face unless there is a detector.
        detector: finds the face in whole photos; the best-scoring one counts, and no face is an error.
        train: the training split: pictures of `split` that repeat in it, pixel for pixel, are counted, and the accuracy
            without them given. Its unreadable pictures are passed over.
        weights: class -> weight of its recall; None: its support.
        shared_only: leave out samples of classes that the model does not know, instead of refusing them.
        flip: average the probabilities of each crop and its mirror image.
        by: a metadata column; each of its values is measured apart too.
        corruptions: measure again under each damage of `mien.measure.corruptions`, seeded with `seed`.
        resamples: of the bootstrap intervals, seeded with `seed`.
        limits: of the pictures.
        progress: is told how far the work is.

    Raises:
        DatasetError: no sample, classes that do not match, an unknown column or weight, or not one readable picture.
    """
    session = model if isinstance(model, Session) else Session(model)
    match = match_classes(session.classes, split.classes, shared_only=shared_only)
    samples = [s for s in split.samples if s.label in match.classes]
    _check(split, samples, by, weights, match)
    look = _FaceReader(Stages(session, detector or WholeDetector()), detector is not None, match, flip, limits)
    run = _Run()
    for done, batch in enumerate(_batches(samples), 1):
        _measure(batch, look, run, corruptions, seed)
        progress.update("reading faces", min(done * BATCH, len(samples)), len(samples))
    if not run.samples and not run.missed:
        raise DatasetError(f"{split.root}: none of {len(samples)} pictures can be read; the first: {run.failures[0]}")
    truth = np.array(run.truth, np.int64)
    probabilities = np.concatenate(run.probabilities) if run.probabilities else np.empty((0, len(match.classes)))

    def scores_of(chosen: Truth, lost: list[Sample]) -> Scores:
        counts = np.array([sum(s.label == c for s in lost) for c in match.classes], np.int64)
        return score(
            truth[chosen], probabilities[chosen], match.classes, missed=counts, weights=weights, resamples=resamples,
            seed=seed,
        )  # fmt: skip

    bundle = session.bundle
    fresh = _fresh(run, train, limits, progress) if train else None
    return Evaluation(
        model=bundle.manifest.name,
        model_sha256=hashlib.sha256(bundle.model).hexdigest(),
        data=str(split.root),
        split=split.name,
        match=match,
        samples=tuple(run.samples),
        faces=tuple(run.faces),
        truth=truth,
        probabilities=probabilities,
        missed=tuple(run.missed),
        failures=tuple(run.failures),
        scores=scores_of(np.arange(len(truth)), run.missed),
        tta="flip" if flip else "",
        detector=detector.name if detector else "",
        answer=session.answer.name,
        prior=str(session.prior),
        repeats=_repeats(run, fresh, truth, probabilities) if fresh is not None else None,
        human=human_scale(run.samples, truth, probabilities, match.classes, fresh=fresh, seed=seed),
        annotators=annotators_of(run.samples, truth, probabilities.argmax(axis=1), match.classes),
        by=by,
        slices=tuple(_slices(run, by, scores_of)) if by else (),
        corrupted=_corrupted(run, match) if corruptions else None,
    )


@dataclass(frozen=True, slots=True)
class _FaceReader:
    """How a face is found and read."""

    stages: Stages
    searches: bool
    match: ClassMatch
    flip: bool
    limits: Limits

    def face(self, image: Image) -> Face | None:
        return next(iter(self.stages.detect(Frame(image, "picture"))), None)

    def crop(self, image: Image, face: Face) -> Crops:
        return self.stages.cut(Frame(image, "picture"), [face])

    def read(self, crops: Crops) -> Probabilities:
        """Over the compared classes, `[N, K]`, rows summing to 1."""
        found = self.stages.probabilities(crops).astype(np.float64)
        if self.flip:
            found = (found + self.stages.probabilities(np.ascontiguousarray(crops[:, :, ::-1]))) / 2
        columns = list(self.match.columns)
        return restrict(np.full(len(crops), columns[0], np.int64), found, columns)[1]


def _measure(batch: list[Sample], look: _FaceReader, run: _Run, corruptions: bool, seed: int) -> None:
    crops: list[Crops] = []
    damaged: dict[tuple[str, int], list[Crops]] = {}
    first = len(run.truth)
    for sample in batch:
        try:
            image = next(read_image(sample.path, look.limits)).pixels
        except MediaError as error:
            run.failures.append(str(error))
            continue
        face = look.face(image)
        if face is None:
            run.missed.append(sample)
            continue
        crops.append(look.crop(image, face))
        run.samples.append(sample)
        run.truth.append(look.match.classes.index(sample.label))
        run.keys.append(pixel_key(image))
        if look.searches:
            run.faces.append(face)
        if corruptions:
            for kind, strength in _damages():
                harmed = corrupt(image, kind, strength, (seed, len(run.truth)))
                damaged.setdefault((kind, strength), []).append(look.crop(harmed, face))
    if crops:
        run.probabilities.append(look.read(np.concatenate(crops)))
    truth = np.array(run.truth[first:], np.int64)
    for damage, harmed_crops in damaged.items():
        hits = int((look.read(np.concatenate(harmed_crops)).argmax(axis=1) == truth).sum())
        run.damaged_hits[damage] = run.damaged_hits.get(damage, 0) + hits


def _check(
    split: Split, samples: list[Sample], by: str, weights: Mapping[str, float] | None, match: ClassMatch
) -> None:
    """Refuse what can be refused before the work."""
    if not samples:
        raise DatasetError(f"{split.root}: split {split.name!r} has no picture of {', '.join(match.classes)}")
    columns = sorted({name for s in samples for name in s.metadata})
    if by and by not in columns:
        raise DatasetError(
            f"{split.root}: no column {by!r} to measure by; there are {', '.join(columns) or 'none (it takes a CSV)'}"
        )
    unknown = sorted({canonical(w) for w in weights or {}} - set(match.classes))
    if unknown:
        raise DatasetError(
            f"a weight for {', '.join(unknown)}, which is not compared here; there are {', '.join(match.classes)}"
        )


def _batches(samples: list[Sample]) -> Iterator[list[Sample]]:
    for start in range(0, len(samples), BATCH):
        yield samples[start : start + BATCH]


def _damages() -> Iterator[tuple[str, int]]:
    return ((kind, strength) for kind in CORRUPTIONS for strength in STRENGTHS)


def _fresh(run: _Run, train: Split, limits: Limits, progress: Progress) -> NDArray[np.bool_]:
    """Which of the measured pictures do not stand in the training split, `[N]`."""
    wanted, seen = set(run.keys), set[str]()
    for done, sample in enumerate(train.samples, 1):
        try:
            key = pixel_key(next(read_image(sample.path, limits)).pixels)
        except MediaError:
            continue
        if key in wanted:
            seen.add(key)
        if done % BATCH == 0 or done == len(train):
            progress.update("looking for repeats", done, len(train))
    return np.array([key not in seen for key in run.keys], np.bool_)


def _repeats(run: _Run, fresh: NDArray[np.bool_], truth: Truth, probabilities: Probabilities) -> RepeatedPictures:
    hits = int(((probabilities.argmax(axis=1) == truth) & fresh).sum())
    return RepeatedPictures(int((~fresh).sum()), wilson(hits, int(fresh.sum()) + len(run.missed)))


def _slices(run: _Run, by: str, scores_of: Callable[[Truth, list[Sample]], Scores]) -> Iterator[Slice]:
    for value in sorted({s.metadata.get(by, "") for s in [*run.samples, *run.missed]}):
        chosen = np.flatnonzero([s.metadata.get(by, "") == value for s in run.samples])
        yield Slice(value, scores_of(chosen, [s for s in run.missed if s.metadata.get(by, "") == value]))


def _corrupted(run: _Run, match: ClassMatch) -> CorruptionResult:
    total = max(len(run.samples), 1)
    accuracies = {
        kind: tuple(run.damaged_hits.get((kind, strength), 0) / total for strength in STRENGTHS) for kind in CORRUPTIONS
    }
    return CorruptionResult(accuracies, 1 - fmean(value for row in accuracies.values() for value in row))
