"""An audit as text and as JSON; docs/measure/audit.md describes the schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from mien._version import __version__
from mien.audit import Audit, LabelCheck, Pair, Picture
from mien.report.evaluation_text import counted, data_name

SCHEMA_VERSION = 1
"""Fields may be added within a version; any other change raises it."""

UNEVEN = 10
"""Said when the largest class of a split has more than so many times the pictures of the smallest."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One row of the summary: how many pictures, and a note."""

    name: str
    pictures: int
    note: str = ""


def summary(audit: Audit) -> list[Finding]:
    """What was looked for and how many pictures it holds for, in order; what was not looked for is not there."""
    splits = list(audit.balance)
    rows = [Finding(f"identical to an earlier one in {split}", audit.copies(split), "later copies") for split in splits]
    for early, late in combinations(splits, 2):
        note = f"{audit.repeated(early, late)} of {early} stand in {late}"
        rows.append(Finding(f"of {late} that stand in {early} too", audit.repeated(late, early), note))
    torn = [g for g in audit.identical if len(g.labels) > 1]
    rows.append(
        Finding("identical under different labels", sum(len(g.pictures) for g in torn), counted(len(torn), "picture"))
    )
    inside = [p for p in audit.near if len(p.splits) == 1]
    rows.append(_pairs("nearly identical in one split", inside))
    if len(splits) > 1:
        rows.append(_pairs("nearly identical across splits", [p for p in audit.near if len(p.splits) > 1]))
    rows.append(_pairs("nearly identical under different labels", [p for p in audit.near if len(p.labels) > 1]))
    rows.append(Finding("blank", len(audit.blank), "almost no contrast"))
    rows.append(Finding("unreadable", len(audit.unreadable)))
    if audit.faces:
        note = f"of {audit.faces.looked_at} looked at by {audit.faces.detector}"
        rows.append(Finding("without a face found", len(audit.faces.missing), note))
    if audit.labels:
        note = f"of {audit.labels.checked} in {audit.labels.split}, by model {audit.labels.model}"
        rows.append(Finding("with a label that may be wrong", len(audit.labels.found), note))
    return rows


def remarks(audit: Audit) -> list[str]:
    """What a reader must know, one sentence each."""
    found = list(audit.remarks)
    for split, counts in audit.balance.items():
        largest, smallest = max(counts, key=lambda c: counts[c]), min(counts, key=lambda c: counts[c])
        if counts[largest] > UNEVEN * counts[smallest]:
            found.append(
                f"In {split}, {largest} has {counts[largest] / max(counts[smallest], 1):.0f} times the pictures of "
                f"{smallest}."
            )
    if audit.labels and audit.labels.found:
        found.append("A label that the model contradicts may still be right: look at these pictures before you act.")
    if audit.faces and audit.faces.missing:
        found.append("A tight crop without a face found is a hint, not a proof: detectors want room around a face.")
    return found


def to_text(audit: Audit) -> str:
    """A table of classes, a table of findings, the remarks; lines end with a newline."""
    lines = [f"{data_name(audit.data)}: {counted(audit.pictures, 'picture')}", "", *_balance(audit), ""]
    rows = summary(audit)
    width = max(len(row.name) for row in rows)
    lines += [f"{'pictures ...':{width}}  {'found':>6}"]
    lines += [f"{row.name:{width}}  {row.pictures:6}  {row.note}".rstrip() for row in rows]
    if audit.labels and audit.labels.found:
        lines += ["", "commonest doubts about labels:"]
        lines += [f"  {label} may be {other}: {len(found)}" for (label, other), found in doubts(audit.labels)[:5]]
    told = remarks(audit)
    return "\n".join([*lines, *([""] if told else []), *told]) + "\n"


def doubts(check: LabelCheck) -> list[tuple[tuple[str, str], list[int]]]:
    """(label, suggested) -> positions in `check.found`, the commonest first, the surest of each first."""
    positions: dict[tuple[str, str], list[int]] = {}
    for i, wrong in enumerate(check.found):
        positions.setdefault((wrong.picture.label, wrong.suggested), []).append(i)
    return sorted(positions.items(), key=lambda item: -len(item[1]))


def to_json(audit: Audit) -> str:
    """JSON of schema `SCHEMA_VERSION`; probabilities and correlations rounded to six places."""
    root = audit.data
    document = {
        "schema": "mien.audit",
        "schema_version": SCHEMA_VERSION,
        "mien": __version__,
        "data": {"path": root, "pictures": audit.pictures},
        "splits": [{"name": name, "classes": dict(counts)} for name, counts in audit.balance.items()],
        "summary": [{"finding": r.name, "pictures": r.pictures, "note": r.note} for r in summary(audit)],
        "identical": [
            {"splits": g.splits, "labels": g.labels, "pictures": [_picture(p, root) for p in g.pictures]}
            for g in audit.identical
        ],
        "near": [_pair(p, root) for p in audit.near],
        "unreadable": [{**_picture(u.picture, root), "reason": u.reason} for u in audit.unreadable],
        "blank": [_picture(p, root) for p in audit.blank],
        "faces": None
        if audit.faces is None
        else {
            "detector": audit.faces.detector,
            "looked_at": audit.faces.looked_at,
            "missing": [_picture(p, root) for p in audit.faces.missing],
        },
        "labels": None if audit.labels is None else _labels(audit.labels, root),
        "remarks": remarks(audit),
    }
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def _pairs(name: str, pairs: list[Pair]) -> Finding:
    return Finding(
        name, len({p.sample.path for pair in pairs for p in (pair.first, pair.second)}), counted(len(pairs), "pair")
    )


def _balance(audit: Audit) -> Iterator[str]:
    classes = sorted({c for counts in audit.balance.values() for c in counts})
    width = max(len(c) for c in [*classes, "class"])
    yield f"{'class':{width}}" + "".join(f"  {split:>16}" for split in audit.balance)
    for c in classes:
        cells = [(counts.get(c, 0), sum(counts.values())) for counts in audit.balance.values()]
        yield f"{c:{width}}" + "".join(f"  {n:8} {n / max(total, 1):7.1%}" for n, total in cells)
    yield (
        f"{'all':{width}}"
        + "".join(f"  {sum(counts.values()):8}        " for counts in audit.balance.values()).rstrip()
    )


def _picture(picture: Picture, root: str) -> dict[str, object]:
    return {"path": picture.path_from(root), "split": picture.split, "label": picture.label}


def _pair(pair: Pair, root: str) -> dict[str, object]:
    return {
        "splits": pair.splits,
        "labels": pair.labels,
        "pictures": [_picture(pair.first, root), _picture(pair.second, root)],
        "correlation": round(pair.correlation, 6),
        "turn": pair.turn,
    }


def _labels(check: LabelCheck, root: str) -> dict[str, object]:
    return {
        "split": check.split,
        "model": {"name": check.model, "sha256": check.model_sha256},
        "checked": check.checked,
        "found": [
            {
                **_picture(wrong.picture, root),
                "suggested": wrong.suggested,
                "probability_of_label": round(wrong.probability_of_label, 6),
                "probability_of_suggested": round(wrong.probability_of_suggested, 6),
            }
            for wrong in check.found
        ],
    }
