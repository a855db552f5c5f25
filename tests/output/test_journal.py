"""Journals: whatever became of the two files, a run goes on from what both agree on; no row is lost or doubled."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.errors import OutputError
from mien.output import journal as journals
from mien.output.journal import Journal, journal_of, record_of
from mien.output.writers import finished, open_writer, partial_of
from mien.records import Failure

ABOUT = {"sources": ["x"], "items": 9}
ITEMS = [Failure(f"{number}.jpg", 0, "why") for number in range(9)]


def begin(path: Path, items: int) -> None:
    """A run that a kill ends after `items` items, in the midst of the next row."""
    writer = open_writer(path, ("a",), run=ABOUT)
    for number, failure in enumerate(ITEMS[:items]):
        writer.add(number, failure)
    writer.done(items)
    writer.close(KeyboardInterrupt())
    if partial_of(path).exists():
        with partial_of(path).open("ab") as file:
            file.write(b'{"source": "hal')


def go_on(path: Path) -> int:
    """Finish it; returns the items that were done before."""
    with open_writer(path, ("a",), run=ABOUT, resume=True) as writer:
        begun = writer.items
        for number in range(begun, len(ITEMS)):
            writer.add(number, ITEMS[number])
        writer.done(len(ITEMS))
    return begun


def whole(path: Path) -> bytes:
    with open_writer(path, ("a",), run=ABOUT) as writer:
        for number, failure in enumerate(ITEMS):
            writer.add(number, failure)
        writer.done(len(ITEMS))
    return path.read_bytes()


def cut(size: int) -> Callable[[Path], None]:
    return lambda path: os.truncate(path, max(path.stat().st_size - size, 0))


def flip(at: int) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[at % len(data)] ^= 0x10
        path.write_bytes(data)

    return change


@settings(max_examples=40)
@given(
    name=st.sampled_from(["a.csv", "a.jsonl"]),
    items=st.integers(1, 8),
    damage=st.one_of(st.integers(1, 400).map(cut), st.integers(0, 4000).map(flip)),
    of=st.sampled_from([partial_of, lambda path: journal_of(partial_of(path))]),
)
def test_two_files_that_do_not_fit_are_cut_back_or_refused(tmp_path_factory, name, items, damage, of):
    path = tmp_path_factory.mktemp("run") / name
    begin(path, items)
    header = journal_of(partial_of(path)).read_bytes().splitlines(keepends=True)[0]
    damage(of(path))
    if (
        not journal_of(partial_of(path)).read_bytes().startswith(header)
    ):  # it says which run this is: without it there is no going on
        with pytest.raises(OutputError, match="cannot be gone on with"):
            go_on(path)
        assert partial_of(path).exists()
        return
    assert go_on(path) <= items
    assert path.read_bytes() == whole(path.with_name("whole" + path.suffix))


def test_damage_is_said(tmp_path):
    path = tmp_path / "a.jsonl"
    begin(path, 5)
    flip(300)(partial_of(path))
    with open_writer(path, ("a",), run=ABOUT, resume=True) as writer:
        assert 0 < writer.items < 5
        assert f"does not fit its journal from item {writer.items + 1} on; that is read again" in writer.damage


def test_killed_between_journal_and_partial_file(tmp_path):
    path = tmp_path / "a.csv"
    Journal.begin(partial_of(path), ABOUT).close()
    assert go_on(path) == 0
    path.unlink()
    partial_of(path).touch()  # the other way round, as older versions did
    assert go_on(path) == 0


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet", "a.csv.gz"])
def test_killed_while_it_is_finished(tmp_path, monkeypatch, name):
    path = tmp_path / name

    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(journals, "_write_record", kill)
    with pytest.raises(Killed):
        whole(path)
    monkeypatch.undo()
    assert path.exists()
    if finished(path, ABOUT) is None:
        assert go_on(path) == 9
    position = finished(path, ABOUT)
    assert position
    assert (position.items, position.failed) == (9, 9)
    assert sorted(p.name for p in tmp_path.iterdir() if p.name[0] != ".") == [name, name + ".run"]


def test_another_run_is_refused_with_the_difference(tmp_path):
    path = tmp_path / "a.csv"
    begin(path, 3)
    other = {"sources": ["y" * 99], "items": 9}
    with pytest.raises(OutputError, match=r'sources was \["x"\], is \["y+\.\.\.\. Go on with that run as it was begun'):
        open_writer(path, ("a",), run=other, resume=True)
    go_on(path)
    with pytest.raises(OutputError, match=r'a\.csv: rows of another run: sources was \["x"\]'):
        finished(path, other)
    record_of(path).write_text(json.dumps(ABOUT))
    with pytest.raises(OutputError, match="does not say of which run"):
        finished(path, ABOUT)


def test_a_second_run_is_told_who_is_there(tmp_path):
    path = tmp_path / "a.csv"
    with open_writer(path, ("a",), run=ABOUT) as writer:
        for options in ({}, {"overwrite": True}, {"resume": True, "run": ABOUT}):
            with pytest.raises(OutputError, match=rf"another run is writing it \(process {os.getpid()} on "):
                open_writer(path, ("a",), **options)
        writer.add(0, ITEMS[0])
    assert path.read_text().count("0.jpg") == 1
    assert not (tmp_path / ".a.csv.lock").exists()


@pytest.mark.skipif(os.name != "posix", reason="an open file cannot be removed")
def test_a_folder_removed_in_mid_run_ends_it_with_one_line(tmp_path):
    path = tmp_path / "out/a.csv"
    path.parent.mkdir()
    writer = open_writer(path, ("a",), run=ABOUT)
    writer.add(0, ITEMS[0])
    shutil.rmtree(path.parent)
    with pytest.raises(OutputError, match=r"a\.csv: cannot be written \(No such file.*; nothing is kept") as caught:
        writer.add(1, ITEMS[1])
    assert caught.value.remedies == ()
