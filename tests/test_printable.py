"""Names from strangers' files reach a terminal escaped, one by one or inside the records of a report."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from mien.output.rows import json_line, rows_of
from mien.printable import escaped, printable
from mien.records import Failure

CLEAR = "a\x1b[2J\n\x9b\u202e.jpg"


@dataclass(frozen=True)
class Part:
    path: Path
    counts: Counter[str]
    names: tuple[str, ...] = ()
    parts: list[Part] = field(default_factory=list)


@given(st.text())
def test_what_is_printed_is_one_line_that_moves_nothing(text: str):
    assert printable(text).isprintable()
    assert not set(printable(text, keep="\n")) - set(printable(text)) - {"\n"}


def test_the_names_in_a_record_are_escaped_and_the_rest_is_the_same():
    part = Part(Path("b"), Counter({"c": 2}), ("d",))
    assert escaped(part) is part
    whole = escaped(Part(Path(CLEAR), Counter({CLEAR: 3}), (CLEAR, "x"), [part]))
    shown = printable(CLEAR)
    assert whole == Part(Path(shown), Counter({shown: 3}), (shown, "x"), [part])
    assert whole.counts.most_common() == [(shown, 3)]


@given(st.text())
def test_a_line_of_json_moves_nothing_and_reads_back_the_same(name: str):
    (row,) = rows_of(Failure(name, 0, "why"))
    line = json_line(row)
    assert line.removesuffix("\n").isprintable()
    assert json.loads(line.encode()) == row
