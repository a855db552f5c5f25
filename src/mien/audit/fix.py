"""What to leave out of a data set, as a list that `mien evaluate --exclude` and `mien train --exclude` take."""

from __future__ import annotations

import csv
import io

from mien.audit.records import Audit, DuplicateGroup, Picture
from mien.dataset import SPLITS


def to_leave_out(audit: Audit, labels: bool = False) -> dict[str, str]:
    """Path (relative to the data set) -> reason.

    Unreadable and blank files. Of identical pictures in several splits, those outside the last of train, validation,
    test. Within a split the later copies, and all copies where their labels differ. Of nearly identical pictures in two
    splits, the one in the earlier split. With `labels`, likely wrong labels too. Missing faces are never listed.
    """
    reasons: dict[str, str] = {}

    def add(picture: Picture, reason: str) -> None:
        reasons.setdefault(picture.path_from(audit.data), reason)

    for broken in audit.unreadable:
        add(broken.picture, "unreadable")
    for picture in audit.blank:
        add(picture, "blank")
    for group in audit.identical:
        for picture, reason in _of_group(group, audit.data):
            add(picture, reason)
    for pair in audit.near:
        if len(pair.splits) > 1:
            early, late = sorted((pair.first, pair.second), key=lambda p: _rank(p.split))
            add(early, f"looks like {late.path_from(audit.data)}")
    for wrong in audit.labels.found if labels and audit.labels else ():
        add(wrong.picture, f"label may be wrong: {wrong.suggested}?")
    return reasons


def to_csv(reasons: dict[str, str]) -> str:
    """Columns `path` and `reason`."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("path", "reason"), *reasons.items()])
    return text.getvalue()


def _of_group(group: DuplicateGroup, root: str) -> list[tuple[Picture, str]]:
    last = max(group.splits, key=_rank)
    kept = group.of(last)
    out = [(p, f"same pixels as {kept[0].path_from(root)}") for p in group.pictures if p.split != last]
    if len({p.label for p in kept}) > 1:
        return [*out, *((p, f"same pixels under {' and '.join(sorted({k.label for k in kept}))}") for p in kept)]
    return [*out, *((p, f"same pixels as {kept[0].path_from(root)}") for p in kept[1:])]


def _rank(split: str) -> int:
    return SPLITS.index(split) if split in SPLITS else 0
