"""An audit as one HTML page that needs nothing else: tables, bars and examples stand inside it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape

from markupsafe import Markup

from mien.audit import Audit, Group, LabelCheck, Pair, Picture, WrongLabel
from mien.dataset.fingerprint import TURNS
from mien.report import charts
from mien.report.audit_text import doubts, remarks, summary
from mien.report.evaluation_text import counted, data_name
from mien.report.html import fill, to_page
from mien.report.thumbnails import face_url

PAIRS_SHOWN = 18
"""Examples of each kind of pair. All numbers here together keep the page under 3 MB, whatever the pictures."""

DOUBTS_SHOWN, FACES_A_DOUBT = 8, 6
SINGLES_SHOWN = 24
PATH_LETTERS = 60


def to_html(audit: Audit) -> str:
    """The page; under 3 MB whatever the data. Pictures it shows are read from their files again."""
    rows = "".join(
        f'<tr><th scope="row">{escape(row.name)}<small>{escape(row.note)}</small></th><td>{row.pictures:,}</td></tr>'
        for row in summary(audit)
    )
    body = fill(
        "audit.html",
        data=data_name(audit.data),
        pictures=f"{audit.pictures:,}",
        findings=Markup(rows),
        remarks=Markup("".join(f"<li>{escape(line)}</li>" for line in remarks(audit))),
        balance=Markup(
            "".join(
                f"<div><h3>{escape(split)}</h3>{charts.counts(list(counts.items()), f'Classes of {split}')}</div>"
                for split, counts in audit.balance.items()
            )
        ),
        sections=Markup("".join(_sections(audit))),
    )
    return to_page(f"audit of {data_name(audit.data)}", body)


def _sections(audit: Audit) -> Iterator[str]:
    root = audit.data
    crossing = [_of_group(g, root) for g in audit.identical if len(g.splits) > 1]
    torn = [_of_group(g, root, by_label=True) for g in audit.identical if len(g.labels) > 1]
    near_crossing = [_of_pair(p, root) for p in _faintest(audit.near) if len(p.splits) > 1]
    near_torn = [_of_pair(p, root) for p in _faintest(audit.near) if len(p.labels) > 1]
    inside = [_of_pair(p, root) for p in _faintest(audit.near) if len(p.splits) == 1]
    yield _section("The same pixels in two splits", "A model measured on these has seen them.", crossing, "pairs")
    yield _section("The same pixels under two labels", "At most one of the labels is right.", torn, "pairs")
    note = "The same photo, most likely: the pairs least alike come first, as these need a look."
    yield _section("Nearly the same in two splits", note, near_crossing, "pairs")
    yield _section("Nearly the same under two labels", note, near_torn, "pairs")
    yield _section("Nearly the same in one split", note, inside, "pairs")
    if audit.labels and audit.labels.found:
        yield _doubts(audit.labels, root)
    yield _section("Blank", "Almost no contrast.", [_Lazy((p,), root) for p in audit.blank], "faces named")
    if audit.faces:
        missing = [_Lazy((p,), root) for p in audit.faces.missing]
        yield _section(
            "No face found", "A hint, not a proof: tight crops are hard to detect in.", missing, "faces named"
        )
    if audit.unreadable:
        lines = "".join(f"<li>{escape(u.reason)}</li>" for u in audit.unreadable[:SINGLES_SHOWN])
        more = len(audit.unreadable) - SINGLES_SHOWN
        tail = f"<li>and {more} more</li>" if more > 0 else ""
        yield f"<section><h2>Unreadable</h2><ul>{lines}{tail}</ul></section>"


class _Lazy:
    """A figure that reads its pictures only when it is shown."""

    def __init__(self, pictures: Sequence[Picture], root: str, note: str = "") -> None:
        self._pictures, self._root, self._note = pictures, root, note

    def __str__(self) -> str:
        images = "".join(
            f'<img src="{face_url(p.sample.path)}" width="64" height="64" alt="picture labeled {escape(p.label)}">'
            for p in self._pictures
        )
        names = "".join(
            f"<small>{escape(p.label)}: {breakable(_shortened(p.path_from(self._root)))}</small>"
            for p in self._pictures
        )
        return f"<figure><div>{images}</div><figcaption>{escape(self._note)}{names}</figcaption></figure>"


def _of_group(group: Group, root: str, by_label: bool = False) -> _Lazy:
    """Two of a group, of two splits, or of two labels."""
    first = group.pictures[0]
    others = [p for p in group.pictures if (p.label != first.label if by_label else p.split != first.split)]
    copies = len(group.pictures)
    return _Lazy((first, others[0]), root, f"2 of {copies} copies" if copies > 2 else "")


def _of_pair(pair: Pair, root: str) -> _Lazy:
    turn = "" if pair.turn == TURNS[0] else f", second {pair.turn}"
    return _Lazy((pair.first, pair.second), root, f"{pair.correlation:.3f}{turn}")


def _faintest(pairs: Sequence[Pair]) -> list[Pair]:
    return sorted(pairs, key=lambda p: p.correlation)


def _section(title: str, about: str, figures: Sequence[_Lazy], kind: str) -> str:
    if not figures:
        return ""
    shown = PAIRS_SHOWN if kind == "pairs" else SINGLES_SHOWN
    return (
        f'<section class="long"><h2>{title}</h2><p>{about} {min(shown, len(figures))} of {len(figures)}.</p>'
        f'<div class="{kind}">{"".join(map(str, figures[:shown]))}</div></section>'
    )


def _doubts(check: LabelCheck, root: str) -> str:
    parts: list[str] = []
    for (label, other), positions in doubts(check)[:DOUBTS_SHOWN]:
        faces = "".join(str(_doubt(check.found[i], root)) for i in positions[:FACES_A_DOUBT])
        parts.append(
            f"<h3>{escape(label)}, or {escape(other)}? <small>{counted(len(positions), 'time')}</small></h3>"
            f'<div class="faces named">{faces}</div>'
        )
    return (
        f'<section class="long"><h2>Labels that may be wrong</h2><p>In split {escape(check.split)}, the surest doubts '
        f"of model {escape(check.model)} first.</p>{''.join(parts)}</section>"
    )


def _doubt(wrong: WrongLabel, root: str) -> _Lazy:
    return _Lazy((wrong.picture,), root, f"{wrong.suggested} {wrong.probability_of_suggested:.0%}")


def _shortened(path: str) -> str:
    """The end of a long path, from the beginning of a folder on."""
    if len(path) <= PATH_LETTERS:
        return path
    end = path[-PATH_LETTERS:]
    return ".../" + (end.split("/", 1)[1] if "/" in end[:-1] else end)


def breakable(path: str) -> str:
    """A path as HTML that may be broken after a slash, an underscore or a hyphen, and nowhere within a name."""
    marked = re.sub(r"([/_-])", r"\1\0", path)
    return f'<span class="path">{escape(marked).replace(chr(0), "<wbr>")}</span>'
