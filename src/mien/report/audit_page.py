"""An audit as one HTML page that needs nothing else: tables, bars and examples stand inside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from markupsafe import Markup

from mien.audit import Audit, DuplicateGroup, LabelCheck, Pair, Picture
from mien.dataset.fingerprint import TURNS
from mien.report import charts
from mien.report.audit_text import doubts, remarks, summary
from mien.report.evaluation_text import data_name
from mien.report.html import fill, to_page
from mien.report.thumbnails import face_url

T = TypeVar("T")

Figure = Mapping[str, object]
"""Some pictures beside each other and a note, for `templates/audit/figures.html`."""

PAIRS_SHOWN = 18
"""Examples of each kind of pair. All numbers here together keep the page under 3 MB, whatever the pictures."""

DOUBTS_SHOWN, FACES_A_DOUBT = 8, 6
SINGLES_SHOWN = 24
PATH_LETTERS = 60


def to_html(audit: Audit) -> str:
    """The page; under 3 MB whatever the data. Pictures it shows are read from their files again."""
    body = fill(
        "audit/page.html",
        data=data_name(audit.data),
        pictures=f"{audit.pictures:,}",
        findings=summary(audit),
        remarks=remarks(audit),
        balance=[
            (split, Markup(charts.counts(list(counts.items()), f"Classes of {split}")))
            for split, counts in audit.balance.items()
        ],
        sections=Markup("\n").join(_sections(audit)),
    )
    return to_page(f"audit of {data_name(audit.data)}", body)


def _sections(audit: Audit) -> Iterator[Markup]:
    yield from _identical(audit)
    yield from _near(audit)
    if audit.labels and audit.labels.found:
        yield _doubts(audit.labels, audit.data)

    def alone(picture: Picture) -> Figure:
        return _figure((picture,), audit.data)

    yield _examples("Blank", "Almost no contrast.", "faces named", audit.blank, alone)
    if audit.faces:
        note = "A hint, not a proof: tight crops are hard to detect in."
        yield _examples("No face found", note, "faces named", audit.faces.missing, alone)
    if audit.unreadable:
        reasons = [each.reason for each in audit.unreadable[:SINGLES_SHOWN]]
        yield fill("audit/unreadable.html", reasons=reasons, left_out=len(audit.unreadable) - len(reasons))


def _identical(audit: Audit) -> Iterator[Markup]:
    crossing = [g for g in audit.identical if len(g.splits) > 1]
    torn = [g for g in audit.identical if len(g.labels) > 1]

    def by_split(group: DuplicateGroup) -> Figure:
        return _of_group(group, audit.data, by_label=False)

    def by_label(group: DuplicateGroup) -> Figure:
        return _of_group(group, audit.data, by_label=True)

    note = "A model measured on these has seen them."
    yield _examples("The same pixels in two splits", note, "pairs", crossing, by_split)
    yield _examples("The same pixels under two labels", "At most one of the labels is right.", "pairs", torn, by_label)


def _near(audit: Audit) -> Iterator[Markup]:
    pairs = sorted(audit.near, key=lambda pair: pair.correlation)

    def shown(pair: Pair) -> Figure:
        turn = "" if pair.turn == TURNS[0] else f", second {pair.turn}"
        return _figure((pair.first, pair.second), audit.data, f"{pair.correlation:.3f}{turn}")

    note = "The same photo, most likely: the pairs least alike come first, as these need a look."
    for title, chosen in (
        ("Nearly the same in two splits", [p for p in pairs if len(p.splits) > 1]),
        ("Nearly the same under two labels", [p for p in pairs if len(p.labels) > 1]),
        ("Nearly the same in one split", [p for p in pairs if len(p.splits) == 1]),
    ):
        yield _examples(title, note, "pairs", chosen, shown)


def _examples(title: str, about: str, kind: str, found: Sequence[T], figure: Callable[[T], Figure]) -> Markup:
    """A section of examples; only the pictures that are shown are read. Empty if nothing was found."""
    if not found:
        return Markup()
    shown = [figure(each) for each in found[: PAIRS_SHOWN if kind == "pairs" else SINGLES_SHOWN]]
    return fill("audit/examples.html", title=title, about=about, kind=kind, shown=shown, count=len(found))


def _doubts(check: LabelCheck, root: str) -> Markup:
    kinds: list[tuple[str, str, int, list[Figure]]] = []
    for (label, other), positions in doubts(check)[:DOUBTS_SHOWN]:
        wrong = [check.found[i] for i in positions[:FACES_A_DOUBT]]
        shown = [_figure((w.picture,), root, f"{w.suggested} {w.probability_of_suggested:.0%}") for w in wrong]
        kinds.append((label, other, len(positions), shown))
    return fill("audit/labels.html", split=check.split, model=check.model, kinds=kinds)


def _of_group(group: DuplicateGroup, root: str, *, by_label: bool) -> Figure:
    """Two of a group, of two splits, or of two labels."""
    first = group.pictures[0]
    others = [p for p in group.pictures if (p.label != first.label if by_label else p.split != first.split)]
    copies = len(group.pictures)
    return _figure((first, others[0]), root, f"2 of {copies} copies" if copies > 2 else "")


def _figure(pictures: Sequence[Picture], root: str, note: str = "") -> Figure:
    return {
        "note": note,
        "pictures": [
            {"url": face_url(p.sample.path), "label": p.label, "path": _shortened(p.path_from(root))} for p in pictures
        ],
    }


def _shortened(path: str) -> str:
    """The end of a long path, from the beginning of a folder on."""
    if len(path) <= PATH_LETTERS:
        return path
    end = path[-PATH_LETTERS:]
    return ".../" + (end.split("/", 1)[1] if "/" in end[:-1] else end)
