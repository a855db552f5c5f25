"""A data set -> what is wrong with it. Pictures are decoded once, and no more than a thumbnail of each is kept."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from mien.audit.faces import check_faces
from mien.audit.labels import check_labels
from mien.audit.near import near_pairs
from mien.audit.records import Audit, DuplicateGroup, FaceCheck, LabelCheck, Pair, Picture, Unreadable
from mien.dataset import ONE_SPLIT, Split
from mien.dataset.fingerprint import TURNS, pixel_key, thumbnail
from mien.detect import Detector
from mien.errors import DatasetError, MediaError
from mien.imaging import to_gray
from mien.media.image import read_image
from mien.media.limits import USUAL, Limits
from mien.model.session import Session
from mien.progress import SILENT, PartOfProgress, Progress

BLANK_SPREAD = 4.0
"""A picture whose gray levels (0..255) have a smaller standard deviation is blank."""

CHUNK = 256
MAX_THREADS = 8

"""Called with what is being done, how many are done, and of how many."""


@dataclass(frozen=True, slots=True)
class _PictureLook:
    """What is kept of one picture; `reason` when it cannot be read."""

    key: str = ""
    thumbnail: NDArray[np.uint8] | None = None
    spread: float = 0.0
    reason: str = ""


def audit(
    splits: Sequence[Split],
    *,
    detector: Detector | None = None,
    face_limit: int | None = None,
    session: Session | None = None,
    labels_in: str = "",
    limits: Limits = USUAL,
    progress: Progress = SILENT,
) -> Audit:
    """Look for duplicates, leaks between splits, contradicting or unlikely labels, blank and faceless pictures.

    Args:
        splits: of one data set, in their order (see `open_splits`).
        detector: looks for a face in each picture; None: nobody looks.
        face_limit: it looks at so many pictures, evenly spread; None: at all.
        session: the model whose answers are compared with the labels; None: they are not checked.
        labels_in: the split whose labels are checked; "": validation, else test, else the only split.
        limits: of the pictures.
        progress: is told how far the work is.

    Raises:
        DatasetError: no split, a split `labels_in` that is not there, or not one picture can be read.
    """
    if not splits:
        raise DatasetError("expected at least one split to audit, found none")
    judged, about_labels = _label_split(splits, labels_in) if session else (None, [])
    pictures = [Picture(split.name, sample) for split in splits for sample in split.samples]
    looks = _look_at(pictures, limits, progress)
    readable = [i for i, look in enumerate(looks) if not look.reason]
    if not readable:
        raise DatasetError(
            f"{splits[0].root}: none of {len(pictures)} pictures can be read; the first: {looks[0].reason}"
        )
    sharp = [i for i in readable if looks[i].spread >= BLANK_SPREAD]
    labels, why_not = _labels(judged, session, limits, progress) if judged and session else (None, [])
    return Audit(
        data=str(splits[0].root),
        balance={s.name: {c: sum(x.label == c for x in s.samples) for c in s.classes} for s in splits},
        identical=_identical(pictures, looks, readable),
        near=_near(pictures, looks, sharp, progress),
        unreadable=tuple(Unreadable(p, x.reason) for p, x in zip(pictures, looks, strict=True) if x.reason),
        blank=tuple(pictures[i] for i in readable if looks[i].spread < BLANK_SPREAD),
        faces=_faces([pictures[i] for i in sharp], detector, face_limit, limits, progress) if detector else None,
        labels=labels,
        remarks=tuple(why_not or about_labels),
    )


def _look_at(pictures: list[Picture], limits: Limits, progress: Progress) -> list[_PictureLook]:
    looks: list[_PictureLook] = []
    with ThreadPoolExecutor(min(os.cpu_count() or 1, MAX_THREADS)) as pool:
        for start in range(0, len(pictures), CHUNK):
            looks += pool.map(partial(_look, limits=limits), pictures[start : start + CHUNK])
            progress.update("reading pictures", len(looks), len(pictures))
    return looks


def _look(picture: Picture, limits: Limits) -> _PictureLook:
    try:
        image = next(read_image(picture.sample.path, limits)).pixels
    except MediaError as error:
        return _PictureLook(reason=str(error))
    spread = float(to_gray(image).std())
    return _PictureLook(pixel_key(image), thumbnail(image), spread)


def _identical(pictures: list[Picture], looks: list[_PictureLook], rows: list[int]) -> tuple[DuplicateGroup, ...]:
    members: defaultdict[str, list[Picture]] = defaultdict(list)
    for i in rows:
        members[looks[i].key].append(pictures[i])
    return tuple(DuplicateGroup(tuple(found)) for found in members.values() if len(found) > 1)


def _near(pictures: list[Picture], looks: list[_PictureLook], rows: list[int], progress: Progress) -> tuple[Pair, ...]:
    # Of identical pictures one in each split stands for all: their likes are told once.
    stands_for: dict[tuple[str, str], int] = {}
    for i in rows:
        stands_for.setdefault((looks[i].key, pictures[i].split), i)
    chosen = list(stands_for.values())
    if not chosen:
        return ()
    progress.update("comparing pictures", 0, len(chosen))
    number: dict[str, int] = {}
    keys = np.array([number.setdefault(looks[i].key, len(number)) for i in chosen], np.int64)
    names = list(dict.fromkeys(p.split for p in pictures))
    groups = np.array([names.index(pictures[i].split) for i in chosen], np.int64)
    thumbnails = np.stack([found for i in chosen if (found := looks[i].thumbnail) is not None])
    pairs = near_pairs(thumbnails, groups, keys)
    progress.update("comparing pictures", len(chosen), len(chosen))
    return tuple(
        Pair(pictures[chosen[first]], pictures[chosen[second]], correlation, TURNS[turn])
        for first, second, correlation, turn in pairs.rows()
    )


def _faces(
    pictures: list[Picture], detector: Detector, limit: int | None, limits: Limits, progress: Progress
) -> FaceCheck:
    return check_faces(pictures, detector, limit, limits, progress)


def _label_split(splits: Sequence[Split], wanted: str) -> tuple[Split | None, list[str]]:
    """The split to check, and what to say about it."""
    by_name = {s.name: s for s in splits}
    seen = "the model may have been trained on them, and agrees with mistakes that it has learned"
    if wanted and wanted not in by_name and ONE_SPLIT not in by_name:
        raise DatasetError(f"{splits[0].root}: no split {wanted!r} to check labels in, only {', '.join(by_name)}")
    name = next((n for n in chain([wanted] if wanted else ["validation", "test"], [ONE_SPLIT]) if n in by_name), None)
    if name is None:
        return None, ["Labels were not checked: there is neither a validation nor a test split; name one to check."]
    known_apart = name in ("validation", "test")
    return by_name[name], [] if known_apart else [f"The labels checked are those of split {name!r}: {seen}."]


def _labels(split: Split, session: Session, limits: Limits, progress: Progress) -> tuple[LabelCheck | None, list[str]]:
    try:
        return check_labels(split, session, limits, PartOfProgress(progress, "checking labels")), []
    except DatasetError as error:  # one check that cannot be made must not cost the others
        return None, [f"Labels were not checked: {error}."]
