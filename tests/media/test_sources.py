"""What the user names -> files -> frames."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

from mien.errors import MediaError
from mien.media import Item, Limits, list_items, open_sources, read_item
from mien.records import Failure, Frame


def save(path: Path, color: str = "red") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = io.BytesIO()  # Pillow would refuse some of the names below by their suffix
    PillowImage.new("RGB", (6, 4), color).save(file, "PNG")
    path.write_bytes(file.getvalue())
    return path


def names(sources: list[str], root: Path) -> list[str]:
    return [Path(item.source).relative_to(root).as_posix() for item in list_items(sources)]


@pytest.fixture
def photos(tmp_path) -> Path:
    """Three pictures, two other files, one hidden picture and one in a hidden folder."""
    root = tmp_path / "photos"
    for name in ("b.JPG", "a.png", "deep/down/c.webp", ".hidden.png", ".cache/d.png"):
        save(root / name)
    (root / "notes.txt").write_text("x")
    (root / "deep" / "list.csv").write_text("x")
    return root


def test_a_folder_is_searched_sorted_and_hidden_files_are_not(photos):
    assert names([str(photos)], photos) == ["a.png", "b.JPG", "deep/down/c.webp"]


def test_a_named_file_is_tried_whatever_its_suffix(tmp_path):
    path = save(tmp_path / "portrait.data")
    (frame,) = open_sources([str(path)])
    assert isinstance(frame, Frame)
    assert frame.source == str(path)


def test_a_hidden_folder_that_is_named_is_searched(photos):
    assert names([str(photos / ".cache")], photos) == [".cache/d.png"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.png", ["a.png"]),
        ("*", ["a.png", "b.JPG"]),
        ("**/*.webp", ["deep/down/c.webp"]),
        ("**", ["a.png", "b.JPG", "deep/down/c.webp"]),
        ("[ab].*", ["a.png", "b.JPG"]),
        ("?.png", ["a.png"]),
        ("*.txt", ["notes.txt"]),  # spelled out, so meant
    ],
)
def test_patterns(photos, pattern, found):
    assert names([str(photos / pattern)], photos) == found


def test_a_relative_pattern(photos, monkeypatch):
    monkeypatch.chdir(photos.parent)
    assert [item.source for item in list_items(["photos/*.png"])] == [str(Path("photos/a.png"))]


@pytest.mark.parametrize("name", ["shot[1].png", "a*b.png", "what?.png"])
def test_a_literal_name_wins_over_the_pattern(tmp_path, name):
    save(tmp_path / name)
    save(tmp_path / "shot1.png")
    save(tmp_path / "aXb.png")
    assert names([str(tmp_path / name)], tmp_path) == [name]


# --- the same file twice ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        (["a.png", "a.png"], ["a.png", "a.png"]),
        (["a.png", "."], ["a.png", "b.JPG", "deep/down/c.webp"]),
        (["b.JPG", "."], ["b.JPG", "a.png", "deep/down/c.webp"]),
        ([".", "a.png"], ["a.png", "b.JPG", "deep/down/c.webp"]),
        ([".", "."], ["a.png", "b.JPG", "deep/down/c.webp"]),
        (["deep", "*", "deep/../a.png"], ["deep/down/c.webp", "a.png", "b.JPG"]),
    ],
)
def test_overlap(photos, monkeypatch, sources, found):
    monkeypatch.chdir(photos)
    assert [Path(item.source).as_posix() for item in list_items(sources)] == found


# --- wrong names are errors at once -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nothing.png", r"nothing\.png: no such file or folder; expected a picture, a video, a folder or a pattern"),
        ("a.png/b.png", "no such file or folder"),
        ("*.bmp", "no picture or video matches this, by name or first bytes; found no file and 0 folders"),
        ("no*", r"found 1 other file \(\.txt 1\) and 0 folders"),
        ("", "a source is empty"),
        ("x" * 5000, "cannot be read"),
        ("a\0b", "cannot be read"),
        ("a\0*", "no"),
    ],
)
def test_a_wrong_name_is_an_error_before_the_first_frame(photos, monkeypatch, source, message):
    monkeypatch.chdir(photos)
    with pytest.raises(MediaError, match=message):
        open_sources(["a.png", source])


def test_a_folder_without_pictures_says_what_is_there(tmp_path):
    for name in ("a.txt", "b.doc", "deep/c.mp3"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(
        MediaError, match=r"no pictures or videos in this folder or .*found 3 other files \(\.doc 1, \.mp3 1, \.txt 1\)"
    ):
        list_items([str(tmp_path)])


def test_an_empty_folder(tmp_path):
    with pytest.raises(MediaError, match="found nothing"):
        list_items([str(tmp_path)])


def test_standard_input_can_be_named_once():
    with pytest.raises(MediaError, match="'-' is named 2 times"):
        list_items(["-", "-"])


def test_a_terminal_is_not_a_picture(monkeypatch):
    monkeypatch.setattr(sys, "stdin", _Stdin(b"", terminal=True))
    with pytest.raises(MediaError, match="found a terminal; pipe one in"):
        list_items(["-"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(st.sampled_from("ab.*?[]-!\0\n\udcff\ud800é/"), max_size=12))
def test_any_text_is_found_or_refused(tmp_path, source):
    if source.startswith("/") or "**" in source or ".." in source:
        return
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        for item in open_sources(["./" + source]):
            assert isinstance(item, (Frame, Failure))
    except MediaError:
        pass
    finally:
        os.chdir(before)


# --- bad files are failures among frames ------------------------------------------------------------------------------


def test_a_bad_file_does_not_stop_the_rest(photos):
    (photos / "aa.jpg").write_text("not a picture")
    (photos / "ab.png").touch()
    items = list(open_sources([str(photos)]))
    assert [type(item).__name__ for item in items] == ["Frame", "Failure", "Failure", "Frame", "Frame"]
    failure = items[1]
    assert isinstance(failure, Failure)
    assert (failure.source, failure.frame) == (str(photos / "aa.jpg"), 0)
    assert "not a picture in a known format" in failure.message


def test_frames_before_the_damage_come_first(tmp_path):
    first, *rest = (PillowImage.effect_noise((32, 32), 90 + index) for index in range(3))
    first.save(tmp_path / "film.png", save_all=True, append_images=rest, duration=100)
    data = (tmp_path / "film.png").read_bytes()
    (tmp_path / "film.png").write_bytes(data[: len(data) * 5 // 6])
    items = list(open_sources([str(tmp_path / "film.png")]))
    assert [item.index for item in items[:2] if isinstance(item, Frame)] == [0, 1]
    assert isinstance(items[2], Failure)
    assert items[2].frame == 2
    assert len(items) == 3


def test_a_file_that_vanishes_is_a_failure(photos):
    frames = open_sources([str(photos)])
    (photos / "b.JPG").unlink()
    assert [type(item).__name__ for item in frames] == ["Frame", "Failure", "Frame"]


def test_the_pixel_limit_is_passed_on(photos):
    (item,) = open_sources([str(photos / "a.png")], limits=Limits(23))
    assert isinstance(item, Failure)
    assert "limit of 23 pixels" in item.message


def test_a_dangling_link_is_reported(tmp_path):
    (tmp_path / "a.png").symlink_to(tmp_path / "gone.png")
    (item,) = open_sources([str(tmp_path)])
    assert isinstance(item, Failure)
    assert "no such file" in item.message


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_in_a_folder_is_not_waited_for(photos):
    os.mkfifo(photos / "pipe.png")
    assert names([str(photos)], photos) == ["a.png", "b.JPG", "deep/down/c.webp"]


def test_links_in_a_circle(photos):
    (photos / "deep" / "up").symlink_to(photos, target_is_directory=True)
    assert names([str(photos)], photos) == ["a.png", "b.JPG", "deep/down/c.webp"]


def test_a_folder_inside_that_cannot_be_searched_is_a_failure(photos, monkeypatch):
    real = os.scandir

    def scandir(path):
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    *frames, failure = open_sources([str(photos)])
    assert len(frames) == 2
    assert isinstance(failure, Failure)
    assert "this folder cannot be searched (Permission denied)" in failure.message
    with pytest.raises(MediaError, match="this folder cannot be searched"):
        list_items([str(photos / "deep")])


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system of bytes")
def test_names_that_are_not_utf8(tmp_path):
    name = os.fsdecode(b"caf\xe9 \n,\"'.png")
    save(tmp_path / name)
    (frame,) = open_sources([str(tmp_path)])
    assert isinstance(frame, Frame)
    assert frame.source == str(tmp_path / name)
    assert len(list(open_sources([str(tmp_path / "*.png")]))) == 1


# --- standard input ---------------------------------------------------------------------------------------------------


class _Stdin:
    def __init__(self, data: bytes, terminal: bool = False) -> None:
        self.buffer = io.BytesIO(data)
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


def test_standard_input(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", _Stdin(save(tmp_path / "a.png", "blue").read_bytes()))
    (item,) = list_items(["-"])
    assert item == Item("-", None)
    (frame,) = read_item(item)
    assert isinstance(frame, Frame)
    assert (frame.source, frame.image[0, 0].tolist()) == ("-", [255, 0, 0])


def test_nothing_on_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", _Stdin(b""))
    (item,) = open_sources(["-"])
    assert item == Failure("-", 0, "-: the file is empty (0 bytes); expected a picture")


def test_a_file_called_dash(tmp_path, monkeypatch):
    save(tmp_path / "-")
    monkeypatch.chdir(tmp_path)
    assert isinstance(next(iter(open_sources(["./-"]))), Frame)
