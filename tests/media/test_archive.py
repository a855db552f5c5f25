"""Pictures inside zip and tar archives -> frames, without unpacking."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import struct
import sys
import tarfile
import threading
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

from mien.errors import MediaError
from mien.media import Item, Limits, decode, item_bytes, list_items, open_sources, read_item
from mien.media import archive_members as members
from mien.records import Failure, Frame

Files = Mapping[str, bytes]


def picture(seed: int = 0, format: str = "PNG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    PillowImage.fromarray(pixels).save(file, format)
    return file.getvalue()


FILES = {
    "b.JPG": picture(1, "JPEG"),
    "a.png": picture(2),
    "deep/down/c.webp": picture(3, "WEBP"),
    "notes.txt": b"x",
    ".hidden.png": picture(4),
    ".cache/d.png": picture(5),
    "__MACOSX/._a.png": b"what a Mac adds",
    "inner.zip": b"not searched",
}
PICTURES = ["a.png", "b.JPG", "deep/down/c.webp"]


def write_zip(path: Path, files: Files, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in files.items():
            file.writestr(name, data)
    return path


def tar_bytes(files: Files, links: Mapping[str, str] | None = None, format: int = tarfile.PAX_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=format) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return file.getvalue()


COMPRESS = {
    "tar": bytes,
    "tar.gz": gzip.compress,
    "tgz": gzip.compress,
    "tar.bz2": bz2.compress,
    "tar.xz": lzma.compress,
}
KINDS = ["zip", *COMPRESS]


def write(folder: Path, kind: str, files: Files, name: str = "photos") -> Path:
    path = folder / f"{name}.{kind}"
    if kind == "zip":
        return write_zip(path, files)
    path.write_bytes(COMPRESS[kind](tar_bytes(files)))
    return path


def read(path: Path, **options) -> list[Frame | Failure]:
    return list(open_sources([str(path)], **options))


def labels(results: list[Frame | Failure], path: Path) -> list[str]:
    return [result.source.removeprefix(f"{path}/") for result in results]


def failures(path: Path) -> dict[str, str]:
    """Source, below the archive -> message, of what failed. Everything else is there, and every message says where."""
    results = read(path)
    failed = [result for result in results if isinstance(result, Failure)]
    assert all(result.message.startswith(f"{result.source}: ") for result in failed)
    return dict(zip(labels(failed, path), (result.message for result in failed), strict=True))


def whole_error(path: Path) -> str:
    """What is wrong with an archive as a whole, whether that is found when it is listed or when it is read."""
    try:
        return failures(path)[str(path)]
    except MediaError as error:
        return str(error)


def patched(path: Path, old: bytes, new: bytes, count: int = -1) -> Path:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, count))
    return path


@pytest.fixture(params=KINDS)
def photos(tmp_path, request) -> Path:
    return write(tmp_path, request.param, FILES)


# --- whole archives ---------------------------------------------------------------------------------------------------


def test_pictures_are_read_under_their_own_names(photos):
    results = read(photos)
    assert sorted(labels(results, photos)) == PICTURES
    for result in results:
        assert isinstance(result, Frame)
        assert (result.image.shape, result.index, result.time_s) == ((6, 8, 3), 0, None)


def test_a_zip_and_a_tar_become_an_item_a_picture_sorted_as_a_folder(tmp_path):
    for kind in ("zip", "tar"):
        path = write(tmp_path, kind, FILES)
        items = list_items([str(path)])
        assert [item.source for item in items] == [f"{path}/{name}" for name in PICTURES]
        assert [item.path for item in items] == [path] * 3


def test_a_compressed_tar_becomes_one_item(tmp_path):
    path = write(tmp_path, "tar.gz", FILES)
    (item,) = list_items([str(path)])
    assert item.source == str(path)
    assert not item.is_picture
    assert item_bytes(item) is None


@pytest.mark.parametrize("suffix", [".ZIP", ".Tar"])
def test_the_suffix_may_be_in_capitals(tmp_path, suffix):
    path = write(tmp_path, suffix[1:].lower(), FILES)
    assert len(read(path.rename(tmp_path / f"photos{suffix}"))) == 3


def test_how_a_tar_is_compressed_is_told_by_its_bytes(tmp_path):
    path = write(tmp_path, "tar.xz", FILES)
    assert len(read(path.rename(tmp_path / "photos.tar"))) == 3
    path = write(tmp_path, "tar", FILES)
    assert len(read(path.rename(tmp_path / "photos.tgz"))) == 3


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=str
)
def test_every_method_of_zipfile(tmp_path, method):
    assert labels(read(write_zip(tmp_path / "a.zip", FILES, method)), tmp_path / "a.zip") == PICTURES


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=str)
def test_every_format_of_tar(tmp_path, format):
    name = f"{'long/' * 18}{'x' * 80}.png"
    (tmp_path / "a.tar").write_bytes(tar_bytes({name: picture()}, format=format))
    assert labels(read(tmp_path / "a.tar"), tmp_path / "a.tar") == [name]


def test_zstandard_where_python_has_it(tmp_path):
    path = tmp_path / "a.tar.zst"
    path.write_bytes(b"\x28\xb5\x2f\xfd" + bytes(20))
    if find_spec("compression") is None:
        with pytest.raises(MediaError, match=r"a\.tar\.zst: unpacking it needs Python's module compression\.zstd"):
            list_items([str(path)])
    else:
        assert failures(path)


def test_the_same_archive_twice_is_read_once(photos):
    assert list_items([str(photos), str(photos)]) == list_items([str(photos)])


def test_of_several_with_one_name_the_last_counts_as_when_unpacked(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"a.png": picture(1), "b.png": picture(2)})
    patched(path, b"b.png", b"a.png")
    (tmp_path / "a.tar").write_bytes(tar_bytes({"./a.png": picture(1), "a.png": picture(2)}))
    for name in ("a.zip", "a.tar"):
        (item,) = list_items([str(tmp_path / name)])
        assert item.source == f"{tmp_path / name}/a.png"
        assert item_bytes(item) == picture(2)


def test_archives_in_a_folder_are_not_searched_but_a_pattern_may_name_them(tmp_path):
    for kind in ("zip", "tar", "tar.gz"):
        write(tmp_path, kind, {"a.png": picture()})
    (tmp_path / "broken.zip").write_text("x")
    (tmp_path / "b.png").write_bytes(picture())
    assert len(list_items([str(tmp_path)])) == len(list_items([str(tmp_path / "*")])) == 1
    broken, whole = list_items([str(tmp_path / "*.zip")])
    assert broken.problem is not None
    assert whole.source == f"{tmp_path}/photos.zip/a.png"
    assert labels(read(tmp_path / "*.gz"), tmp_path) == ["photos.tar.gz/a.png"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_without_pictures_counts_what_it_found(tmp_path, kind):
    path = write(tmp_path, kind, {"a.txt": b"", "deep/b.zip": b"", "c.mp3": b"", ".d.png": b""})
    message = r"no pictures or videos in this archive, .*; found 3 other files \(\.mp3 1, \.txt 1, \.zip 1\) \(archives"
    if kind in ("zip", "tar"):
        with pytest.raises(MediaError, match=message):
            list_items([str(path)])
    else:
        (failure,) = read(path)
        assert isinstance(failure, Failure)
        assert "found 3 other files" in failure.message


def test_the_pixel_limit_is_passed_on(photos):
    results = read(photos, limits=Limits(47))
    assert len(results) == 3
    assert all(isinstance(result, Failure) and "limit of" in result.message for result in results)


def test_a_bad_picture_does_not_stop_the_rest(tmp_path):
    for kind in KINDS:
        path = write(tmp_path, kind, {"a.png": picture(), "b.png": b"text", "c.png": b"", "d.png": picture()})
        assert [type(result).__name__ for result in read(path)] == ["Frame", "Failure", "Failure", "Frame"]
        assert set(failures(path)) == {"b.png", "c.png"}


def test_an_animation_has_its_times(tmp_path):
    file = io.BytesIO()
    first, second = (PillowImage.new("RGB", (8, 6), color) for color in ("red", "blue"))
    first.save(file, "GIF", save_all=True, append_images=[second], duration=200)
    for kind in KINDS:
        results = read(write(tmp_path, kind, {"film.gif": file.getvalue(), "z.png": picture()}))
        assert [(r.index, r.time_s) for r in results if isinstance(r, Frame)] == [(0, 0.0), (1, 0.2), (0, None)]


# --- one truth --------------------------------------------------------------------------------------------------------

names = st.lists(st.sampled_from(["a", "b", "B", "é", "a b", "1", "a.b"]), min_size=1, max_size=3).map("/".join)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.tuples(names, st.sampled_from([".png", ".JPG", ".txt"])).map("".join), st.integers(0, 9), min_size=1
    ),
    st.sampled_from(KINDS),
)
def test_folder_and_archive_give_the_same_frames(tmp_path_factory, seeds, kind):
    root = tmp_path_factory.mktemp("same")
    files = {name: picture(seed, "JPEG" if name.endswith("JPG") else "PNG") for name, seed in seeds.items()}
    (root / "photos").mkdir()
    for name, data in files.items():
        path = root / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    path = write(root, kind, files)
    expected, found = read(root / "photos"), read(path)
    if kind not in ("zip", "tar"):  # in the order of the archive
        found.sort(key=lambda frame: frame.source.split("/"))
    assert labels(found, path) == labels(expected, root / "photos")
    for one, other in zip(expected, found, strict=True):
        assert isinstance(one, Frame)
        assert isinstance(other, Frame)
        assert np.array_equal(one.image, other.image)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(KINDS), st.data())
def test_a_truncated_archive_is_always_noticed(tmp_path, kind, data):
    files = {"a.png": picture(1), "b.png": picture(2), "c.txt": bytes(3000), "d.png": picture(3)}
    path = write(tmp_path, kind, files)
    whole = path.read_bytes()
    # A tar ends in zeros, of which the first block counts.
    end = len(whole.rstrip(b"\0")) // 512 * 512 + 1023 if kind == "tar" else len(whole)
    path.write_bytes(whole[: data.draw(st.integers(0, end - 1))])
    try:
        results = read(path)
    except MediaError:
        return
    assert isinstance(results[-1], Failure)
    assert len(results) <= 4


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(KINDS), st.data())
def test_an_altered_archive_gives_frames_failures_or_an_error(tmp_path, kind, data):
    path = write(tmp_path, kind, {"a.png": picture(1), "b.jpg": picture(2, "JPEG"), "c.txt": b"x" * 700})
    altered = bytearray(path.read_bytes())
    for place, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(altered) - 1), st.integers(0, 255)), max_size=6)
    ):
        altered[place] = value
    path.write_bytes(altered)
    try:
        results = read(path, limits=Limits(100_000))
    except MediaError:
        return
    assert all(isinstance(result, Failure) or result.image.shape[2] == 3 for result in results)


@pytest.mark.parametrize("kind", ["tar.gz", "tar.bz2", "tar.xz"])
def test_a_checksum_that_is_wrong_at_the_end_is_noticed(tmp_path, kind):
    path = write(tmp_path, kind, FILES)
    data = bytearray(path.read_bytes())
    data[-5 if kind != "tar.gz" else -8] ^= 1
    path.write_bytes(data)
    *_, failure = read(path)
    assert isinstance(failure, Failure)
    assert failure.source == str(path)
    assert "truncated or damaged" in failure.message


# --- names are only labels --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_names_that_lead_elsewhere_lead_nowhere(tmp_path, kind):
    outside = tmp_path / "x.png"
    outside.write_bytes(picture(9))
    before = sorted(tmp_path.rglob("*"))
    path = write(tmp_path, kind, {"../../x.png": picture(1), "../x.png": picture(2), f"{outside}": picture(3)})
    results = read(path)
    assert sorted(labels(results, path)) == sorted(["../../x.png", "../x.png", f"{outside}".lstrip("/")])
    wrong = next(iter(decode(picture(9), "wrong"))).image
    assert not any(isinstance(result, Frame) and np.array_equal(result.image, wrong) for result in results)
    assert sorted(tmp_path.rglob("*")) == sorted([*before, path])
    assert outside.read_bytes() == picture(9)


def test_a_member_is_not_mistaken_for_a_file_of_that_name(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"../b.png": picture(1)})
    (tmp_path / "b.png").write_bytes(picture(2))
    assert len(list_items([str(path), str(tmp_path / "b.png")])) == 2


def test_links_and_devices_in_a_tar_are_failures(tmp_path):
    file = io.BytesIO(tar_bytes({"a.png": picture(), "z.png": picture()}))
    with tarfile.open(fileobj=file, mode="a") as tar:
        for name, kind in (
            ("hard.png", tarfile.LNKTYPE),
            ("soft.png", tarfile.SYMTYPE),
            ("pipe.png", tarfile.FIFOTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
        info = tarfile.TarInfo("readme")  # a link that is not asked for
        info.type, info.linkname = tarfile.SYMTYPE, "a.png"
        tar.addfile(info)
    for kind in ("tar", "tar.gz"):
        path = tmp_path / f"a.{kind}"
        path.write_bytes(COMPRESS[kind](file.getvalue()))
        found = failures(path)
        assert set(found) == {"hard.png", "soft.png", "pipe.png"}
        assert "expected a file, found a link to '/etc/passwd', which is not followed; unpack" in found["soft.png"]
        assert "found a device or pipe" in found["pipe.png"]
        assert len(read(path)) == 5


def test_a_link_in_a_zip_is_a_failure(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        info = zipfile.ZipInfo("link.png")
        info.create_system, info.external_attr = 3, 0o120777 << 16
        file.writestr(info, "/etc/passwd")
        file.writestr("a.png", picture())
    assert "found a link, which is not followed" in failures(tmp_path / "a.zip")["link.png"]


# --- damaged and hostile ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_what_is_no_archive_is_an_error_at_once(tmp_path, kind):
    for data in (b"", b"text", picture(), bytes(100), b"text" * 500):
        path = tmp_path / f"a.{kind}"
        path.write_bytes(data)
        with pytest.raises(MediaError, match=r"cannot be opened as a zip archive \(|not a tar archive \("):
            list_items([str(path)])


def test_what_is_no_compressed_archive_is_a_failure(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(b"text"))
    assert "not a tar archive" in failures(tmp_path / "a.tar.gz")[str(tmp_path / "a.tar.gz")]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_an_archive_that_may_not_be_read(photos):
    photos.chmod(0)
    with pytest.raises(MediaError, match="Permission denied"):
        list_items([str(photos)])


def test_an_archive_that_vanishes(photos):
    items = list_items([str(photos)])
    photos.unlink()
    assert all(isinstance(result, Failure) for item in items for result in read_item(item))
    assert [item_bytes(item) for item in items] == [None] * len(items)


def test_an_archive_that_changes(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"a.png": picture(1), "b.png": picture(2)})
    one, other = list_items([str(path)])
    assert item_bytes(one) == picture(1)
    write_zip(path, {"a.png": picture(3)})
    assert item_bytes(one) == picture(3)
    (failure,) = read_item(other)
    assert isinstance(failure, Failure)
    assert "b.png: not there any more" in failure.message


def test_an_encrypted_member_is_a_failure_and_the_rest_go_on(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"a.png": picture(1), "b.png": picture(2)})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x03\x04") + 6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    message = "encrypted; expected a file that needs no password; unpack the archive and name the folder"
    assert failures(path) == {"a.png": f"{path}/a.png: {message}"}
    assert len(read(path)) == 2


def test_an_unknown_method_is_a_failure(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"a.png": picture(1), "b.png": picture(2)})
    data = bytearray(path.read_bytes())
    for at in (data.index(b"PK\x03\x04") + 8, data.index(b"PK\x01\x02") + 10):
        data[at : at + 2] = struct.pack("<H", 9)  # Deflate64
    path.write_bytes(data)
    assert "packed by method 9; expected none, deflate, bzip2 or LZMA; unpack" in failures(path)["a.png"]


def test_a_wrong_checksum_is_a_failure(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"a.png": picture(1), "b.png": picture(2)}, zipfile.ZIP_STORED)
    patched(path, picture(1)[50:60], bytes(10))
    found = failures(path)
    assert set(found) == {"a.png"}
    assert "damaged in the archive (Bad CRC-32 for file 'a.png'): expected" in found["a.png"]


def test_a_tar_damaged_on_the_way_has_what_comes_before(tmp_path):
    for kind in ("tar", "tar.gz"):
        data = bytearray(tar_bytes({"a.png": picture(1), "b.png": picture(2), "c.png": picture(3)}))
        data[data.index(b"b.png")] ^= 1  # the header's checksum is wrong now
        path = tmp_path / f"a.{kind}"
        path.write_bytes(COMPRESS[kind](bytes(data)))
        frame, failure = read(path)
        assert isinstance(frame, Frame)
        assert isinstance(failure, Failure)
        assert failure.source == str(path)
        assert "truncated or damaged after 1 members (bad checksum at byte" in failure.message


def test_a_header_of_negative_size_ends_a_tar(tmp_path):
    """What follows it would be found before it, again and again."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        info = tarfile.TarInfo("a.png")
        info.pax_headers = {"size": "-1536"}
        tar.addfile(info)
    for kind in ("tar", "tar.gz"):
        path = tmp_path / f"a.{kind}"
        path.write_bytes(COMPRESS[kind](file.getvalue()))
        assert "'a.png' of -1536 bytes" in whole_error(path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_large_member_is_refused_by_its_declared_size(tmp_path, kind, monkeypatch):
    path = write(tmp_path, kind, {"a.png": picture() + bytes(5000), "b.png": picture()})
    monkeypatch.setattr(members, "MAX_BYTES", 5000)
    found = failures(path)
    assert set(found) == {"a.png"}
    assert "bytes; expected at most 5,000 inside an archive; unpack the archive and name the folder" in found["a.png"]
    assert len(read(path)) == 2


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=str)
def test_a_member_larger_than_it_declares(tmp_path, method):
    path = write_zip(tmp_path / "a.zip", {"a.png": bytes(10_000_000)}, method)
    patched(path, struct.pack("<I", 10_000_000), struct.pack("<I", 100_000))
    tracemalloc.start()
    found = failures(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "damaged in the archive (Bad CRC-32" in found["a.png"]
    assert method != zipfile.ZIP_DEFLATED or peak < 1_000_000  # of the others, a piece is unpacked whole


@pytest.mark.parametrize("kind", KINDS)
def test_what_unpacks_to_far_more_is_refused(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(members, "FREE_BYTES", 1_000_000)
    path = write(tmp_path, kind, {"a.png": picture(), "b.png": bytes(4_000_000), "c.png": picture()})
    found = failures(path)
    if kind == "zip":
        assert set(found) == {"b.png"}
        assert "expected at most 200 times as many, else it may be a bomb; if you trust it, unpack" in found["b.png"]
    elif kind == "tar":
        assert "not a picture" in found["b.png"]
    else:
        assert set(found) == {"b.png", str(path)}


@pytest.mark.parametrize("kind", ["tar.gz", "tar.xz"])
def test_the_way_past_other_files_is_limited_too(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(members, "FREE_BYTES", 1_000_000)
    path = write(tmp_path, kind, {"a.png": picture(), "b.bin": bytes(4_000_000), "c.png": picture()})
    assert "may be a bomb" in failures(path)[str(path)]
    assert len(read(path)) == 2


def test_many_members_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(members, "MAX_MEMBERS", 3)
    for kind in ("zip", "tar", "tar.gz"):
        path = write(tmp_path, kind, {f"{number}.png": picture() for number in range(4)})
        assert "more than 3 members; expected at most so many; unpack" in whole_error(path)


# --- videos -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> bytes:
    av = pytest.importorskip("av")
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with av.open(str(path), "w") as container:
        track = container.add_stream("mpeg4", rate=10)
        track.width, track.height, track.pix_fmt = 32, 16, "yuv420p"
        for value in (0, 60, 120, 180):
            pixels = np.full((16, 32, 3), value, np.uint8)
            container.mux(track.encode(av.VideoFrame.from_ndarray(pixels, format="bgr24")))
        container.mux(track.encode())
    return path.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_a_video_is_read_from_memory(tmp_path, kind, clip):
    path = write(tmp_path, kind, {"clip.mp4": clip, "z.png": picture()})
    results = read(path)
    assert labels(results, path) == ["clip.mp4"] * 4 + ["z.png"]
    *film, still = (result for result in results if isinstance(result, Frame))
    assert [frame.index for frame in film] == [0, 1, 2, 3]
    assert [frame.time_s for frame in film] == pytest.approx([0, 0.1, 0.2, 0.3])
    assert [round(frame.image.mean() / 60) for frame in film] == [0, 1, 2, 3]
    assert still.time_s is None
    item = list_items([str(path)])[0]
    assert not item.is_picture
    assert item_bytes(item) is None


def test_a_video_that_is_none(tmp_path, clip):
    path = write_zip(tmp_path / "a.zip", {"a.mp4": b"text", "b.mp4": clip})
    assert set(failures(path)) == {"a.mp4"}


# --- processes and cost -----------------------------------------------------------------------------------------------


def _read_bytes(item: Item) -> bytes | None:
    return item_bytes(item)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_items_are_read_by_other_processes_and_threads(tmp_path, kind):
    files = {f"{number:02}.png": picture(number) for number in range(24)}
    items = pickle.loads(pickle.dumps(list_items([str(write(tmp_path, kind, files))])))
    assert item_bytes(items[0]) == picture(0)  # opened here first: a forked process must not share it
    method = "fork" if hasattr(os, "fork") else "spawn"
    with ProcessPoolExecutor(2, get_context(method)) as pool:
        assert list(pool.map(_read_bytes, items)) == list(files.values())
    found: dict[int, bytes | None] = {}
    threads = [threading.Thread(target=lambda n=n, i=i: found.update({n: item_bytes(i)})) for n, i in enumerate(items)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] for number in range(24)] == list(files.values())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files as Linux does")
def test_no_more_than_one_file_stays_open(tmp_path):
    before = len(list(Path("/proc/self/fd").iterdir()))
    for kind in KINDS * 2:
        for number in range(3):
            read(write(tmp_path, kind, {"a.png": picture()}, name=str(number)))
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1


def listing_calls(path: Path, wanted: int) -> int:
    """How many functions are called to list the pictures of an archive, of which there are `wanted`."""
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        items = list_items([str(path)])
    finally:
        sys.setprofile(None)
    assert len(items) == wanted
    return calls


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_the_work_of_listing_grows_with_the_members_and_not_with_their_square(tmp_path, kind):
    def archive(name: str, count: int) -> Path:
        files = {f"{n % 100:02}/{n}.{'jpg' if n % 4 else 'txt'}": b"x" for n in range(count)}
        return write(tmp_path, kind, files, name=name)

    assert listing_calls(archive("large", 2_000), 1_500) < 5 * listing_calls(archive("small", 500), 375)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_ten_thousand_members_are_listed_in_little_memory(tmp_path, kind):
    path = write(tmp_path, kind, {f"{n % 100:02}/{n}.{'jpg' if n % 4 else 'txt'}": b"x" for n in range(10_000)})
    tracemalloc.start()
    items = list_items([str(path)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(items) == 7_500
    assert peak < 25_000_000


def test_a_zip_that_declares_more_than_it_lists_says_so(tmp_path: Path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", b"no picture")
    data = bytearray(path.read_bytes())
    end = data.rindex(b"PK\x05\x06")
    data[end + 10 : end + 12] = (7).to_bytes(2, "little")
    path.write_bytes(data)
    *_, last = list_items([path])
    assert last.problem
    assert "declares 7 entries and lists 1" in last.problem


@pytest.mark.parametrize("kind", [b"L", b"x", b"g"])
def test_a_long_header_of_a_tar_is_refused_before_it_is_read(tmp_path: Path, kind: bytes):
    header = tarfile.TarInfo("long")
    header.type, header.size = kind, 3_000_000_000
    (tmp_path / "a.tar").write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(10_240))
    with pytest.raises(MediaError, match="a header of 3,000,000,000 bytes"):
        list_items([tmp_path / "a.tar"])


def tar_of(name: str, data: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_an_archive_behind_the_end_of_another_is_said(tmp_path: Path, pack: Callable[[bytes], bytes], astronaut: Path):
    both = [tar_of(name, astronaut.read_bytes()) for name in ("1.jpg", "2.jpg")]
    (tmp_path / "a.tar").write_bytes(b"".join(map(pack, both)))
    results = [result for item in list_items([tmp_path / "a.tar"]) for result in read_item(item)]
    assert [type(result).__name__ for result in results] == ["Frame", "Failure"]
    assert "more follows the mark at its end" in results[1].message
    (tmp_path / "a.tar").write_bytes(pack(both[0] + bytes(50_000)))
    assert len([result for item in list_items([tmp_path / "a.tar"]) for result in read_item(item)]) == 1


@pytest.mark.parametrize("suffix", ["zip", "tar"])
def test_members_of_one_name_are_counted(tmp_path: Path, suffix: str, astronaut: Path):
    data, path, said = astronaut.read_bytes(), tmp_path / f"a.{suffix}", list[str]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if suffix == "zip":
            with zipfile.ZipFile(path, "w") as packed:
                packed.writestr("a.jpg", b"damaged")
                packed.writestr("a.jpg", data)
        else:
            for name, content in (("a.jpg", b"damaged"), ("a.jpg", data)):
                with tarfile.open(path, "a") as tar:
                    info = tarfile.TarInfo(name)
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
    (item,) = list_items([path], said.append)
    assert said == [
        f"{path}: 1 member is not read: a later one has the same name, and takes its place when it is unpacked"
    ]
    assert isinstance(next(iter(read_item(item))), Frame)
