"""Files that are whole or not there."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.errors import BundleError, DatasetError, MienError, OutputError, reason
from mien.files import creating_folder, make_folder, replacing, write_bytes, write_text


def test_a_file_is_replaced_whole(tmp_path: Path):
    path = tmp_path / "a.txt"
    write_text(path, "one\n")
    with replacing(path) as temporary:
        temporary.write_text("half")
        assert path.read_text() == "one\n"
    assert path.read_text() == "half"
    assert list(tmp_path.iterdir()) == [path]


def _half_written(path: Path, error: BaseException) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(b"half")
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("bad"), OSError(errno.ENOSPC, "No space left")])
@pytest.mark.parametrize("before", [b"old", None])
def test_a_failure_leaves_what_was_there(tmp_path: Path, error: BaseException, before: bytes | None):
    path = tmp_path / "a.bin"
    if before is not None:
        path.write_bytes(before)
    with pytest.raises(OutputError if isinstance(error, OSError) else type(error)):
        _half_written(path, error)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == ([] if before is None else [before])


@settings(max_examples=20, deadline=None)
@given(st.binary(max_size=40), st.integers(1, 255))
def test_every_name_that_the_system_takes(tmp_path_factory: pytest.TempPathFactory, data: bytes, length: int):
    path = tmp_path_factory.mktemp("names") / ("x" * length)
    write_bytes(path, data)
    assert path.read_bytes() == data


@pytest.mark.parametrize("name", ["x" * 256, "a\0b", "absent/a.txt"])
def test_places_that_cannot_be_written(tmp_path: Path, name: str):
    with pytest.raises(BundleError, match=r"cannot be written \("):
        write_text(tmp_path / name, "text", BundleError)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_not_replaced(tmp_path: Path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match=r"folder: cannot be written \("):
        write_text(tmp_path / "folder", "text")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_a_pipe_is_written_to_and_stays(tmp_path: Path):
    pipe, got = tmp_path / "pipe", list[bytes]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write_text(pipe, "text")
    reader.join()
    assert got == [b"text"]
    assert pipe.is_fifo()


def test_folders_are_made(tmp_path: Path):
    make_folder(tmp_path / "a/b")
    make_folder(tmp_path / "a/b")
    (tmp_path / "file").touch()
    with pytest.raises(MienError, match="this folder cannot be made"):
        make_folder(tmp_path / "file/b")


@pytest.mark.parametrize(
    ("error", "words"),
    [(OSError(errno.ENOENT, "No such file"), "No such file"), (ValueError("bad"), "bad"), (EOFError(), "EOFError")],
)
def test_the_reason_of_an_error_is_never_empty(error: BaseException, words: str):
    assert reason(error) == words


def test_a_folder_is_whole_or_not_there(tmp_path: Path):
    def stopped() -> None:
        with creating_folder(tmp_path / "a") as begun:
            (begun / "half").write_text("x")
            assert not (tmp_path / "a").exists()
            raise ValueError("stopped")

    with pytest.raises(ValueError, match="stopped"):
        stopped()
    assert not list(tmp_path.iterdir())
    with creating_folder(tmp_path / "a") as begun:
        (begun / "whole").write_text("x")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a/whole").read_text() == "x"


def test_a_folder_that_another_process_made_meanwhile_stays(tmp_path: Path):
    with creating_folder(tmp_path / "a") as begun:
        (begun / "file").write_text("second")
        (tmp_path / "a").mkdir()
        (tmp_path / "a/file").write_text("first")
    assert (tmp_path / "a/file").read_text() == "first"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_what_a_killed_process_left_of_a_folder_goes_and_what_it_left_of_others_stays(tmp_path: Path):
    for name in (".a.0123.partial", ".b.0123.partial", "a[x].0123"):
        (tmp_path / name).mkdir()
    with creating_folder(tmp_path / "a"):
        pass
    assert sorted(p.name for p in tmp_path.iterdir()) == [".b.0123.partial", "a", "a[x].0123"]


def test_a_folder_that_another_process_is_filling_stays(tmp_path: Path):
    with creating_folder(tmp_path / "a") as slow:
        (slow / "file").write_text("slow")
        with creating_folder(tmp_path / "a") as quick:
            (quick / "file").write_text("quick")
        assert (slow / "file").read_text() == "slow"
    assert (tmp_path / "a/file").read_text() == "quick"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["file"]


def test_a_folder_that_cannot_be_made_says_why(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match="cannot be made"), creating_folder(tmp_path / "file" / "a", DatasetError):
        pass
