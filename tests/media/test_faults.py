"""Nothing wrong without a word: checksums, depth, kinds by content, limits of work, concealed damage."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mien.errors import MediaError
from mien.media import Limits, decode, list_items, open_sources, read_image
from mien.media.formats import kind_of
from mien.media.limits import USUAL
from mien.records import Failure, Frame

RAMP = (np.arange(64 * 48).reshape(48, 64) % 256).astype(np.uint8)


def encoded(format_name: str, image: np.ndarray = RAMP, **options: object) -> bytes:
    data = io.BytesIO()
    Image.fromarray(image).save(data, format_name, **options)
    return data.getvalue()


def only(data: bytes, limits: Limits = USUAL) -> Frame:
    (frame,) = decode(data, "it", limits)
    return frame


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_flipped_bit_of_a_png_is_noticed(data: st.DataObject):
    whole = encoded("PNG", np.random.default_rng(0).integers(0, 256, (16, 16), np.uint8))
    at = data.draw(st.integers(0, len(whole) * 8 - 1))
    broken = bytearray(whole)
    broken[at // 8] ^= 1 << at % 8
    with pytest.raises(MediaError):
        list(decode(bytes(broken), "it"))


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_the_range_of_the_data_decides_how_bright_a_deep_picture_is(bits: int):
    deep = RAMP.astype(np.uint16) << (bits - 8)
    gray = only(encoded("PNG", deep)).pixels
    assert np.array_equal(gray, only(encoded("PNG")).pixels)
    ok, color = cv2.imencode(".png", np.stack([deep, deep // 2, deep // 4], 2))
    assert ok
    found = only(color.tobytes()).pixels
    assert np.array_equal(found[..., 0], RAMP)
    assert np.array_equal(found[..., 2], RAMP // 4)


def test_floats_in_color_span_their_range():
    ok, data = cv2.imencode(".tiff", np.stack([RAMP, RAMP, RAMP], 2).astype(np.float32) / 255)
    assert ok
    assert np.array_equal(only(data.tobytes()).pixels[..., 1], RAMP)


@pytest.mark.parametrize(
    ("format_name", "options"),
    [("JPEG", {}), ("PNG", {}), ("GIF", {}), ("WEBP", {}), ("TIFF", {}), ("BMP", {}), ("JPEG2000", {}), ("AVIF", {})],
)
def test_formats_are_known_by_content(format_name: str, options: dict[str, object], tmp_path: Path):
    data = encoded(format_name, np.stack([RAMP] * 3, 2), **options)
    assert kind_of(data[:400]) == "picture"
    (tmp_path / "download").write_bytes(data)
    (tmp_path / "notes.doc").write_bytes(b"BM, or so it begins, but is a text of more than some bytes")
    notes: list[str] = []
    assert [Path(item.source).name for item in list_items([tmp_path], notes.append)] == ["download"]
    assert notes == [f"{tmp_path}: passed over 1 other file (.doc 1)"]


def test_heic_is_read_or_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    head = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    with pytest.raises(MediaError, match=r"needs pillow-heif: pip install 'mien\[heif\]'"):
        list(decode(head, "a.heic"))
    monkeypatch.undo()
    heif = pytest.importorskip("pillow_heif")
    data = io.BytesIO()
    heif.from_pillow(Image.fromarray(np.stack([RAMP] * 3, 2))).save(data)
    (tmp_path / "a.HEIC").write_bytes(data.getvalue())
    (frame,) = open_sources([tmp_path])
    assert isinstance(frame, Frame)
    assert np.abs(frame.pixels[..., 0].astype(int) - RAMP).mean() < 20


def test_a_truncated_picture_is_taken_on_request_and_marked():
    whole = encoded("JPEG", np.repeat(np.repeat(RAMP, 4, 0), 4, 1))
    with pytest.raises(MediaError, match="truncated"):
        only(whole[: len(whole) // 2])
    frame = only(whole[: len(whole) // 2], Limits(truncated=True))
    assert "truncated" in frame.note
    assert frame.pixels[0].any()
    assert only(whole, Limits(truncated=True)).note == ""


def test_more_pages_of_a_tiff_are_said():
    data = io.BytesIO()
    pages = [Image.fromarray(RAMP), Image.fromarray(RAMP)]
    pages[0].save(data, "TIFF", save_all=True, append_images=pages[1:])
    assert only(data.getvalue()).note == "the first of 2 pages"


def test_a_jpeg_whose_header_lies_costs_nothing():
    data = bytearray(encoded("JPEG", np.stack([RAMP] * 3, 2)))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 9000, 9000)
    tracemalloc.start()
    with pytest.raises(MediaError, match="promises 9000 x 9000 pixels"):
        list(decode(bytes(data), "it"))
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_an_animation_has_a_bound_for_all_its_frames():
    frames = [Image.fromarray(np.full((40, 40), i, np.uint8)) for i in range(30)]
    data = io.BytesIO()
    frames[0].save(data, "GIF", save_all=True, append_images=frames[1:])
    read = []
    with pytest.raises(MediaError, match=r"30 frames of 40 x 40 pixels; the first 8 were read"):
        read.extend(decode(data.getvalue(), "it", Limits(1600)))
    assert len(read) == 8


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path):
    with (tmp_path / "sparse.png").open("wb") as file:
        file.truncate(6_000_000_000)
    with pytest.raises(MediaError, match="more than the limit of 500,000,000 bytes"):
        list(read_image(tmp_path / "sparse.png"))
    with pytest.raises(MediaError, match="more than the limit of 1,000 bytes"):
        list(read_image(Path("/dev/zero"), Limits(max_bytes=1000)))


def test_strips_and_turns_give_what_pillow_gives():
    rng = np.random.default_rng(0)
    color = rng.integers(0, 256, (50, 30, 4), np.uint8)
    for mode in ("RGB", "RGBA", "CMYK", "P"):
        picture = Image.fromarray(color).convert("RGB").convert(mode) if mode != "RGBA" else Image.fromarray(color)
        for turn in range(1, 9):
            exif = Image.Exif()
            exif[274] = turn
            data = io.BytesIO()
            picture.save(data, "TIFF" if mode == "CMYK" else "PNG", exif=exif)
            opened = Image.open(io.BytesIO(data.getvalue()))
            from PIL import ImageOps

            upright = ImageOps.exif_transpose(opened)
            if upright.has_transparency_data:
                white = Image.new("RGBA", upright.size, "white")
                white.alpha_composite(upright.convert("RGBA"))
                upright = white
            assert np.array_equal(only(data.getvalue()).pixels[..., ::-1], np.asarray(upright.convert("RGB")))


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def test_a_chunk_of_pixels_with_a_right_checksum_and_wrong_data_is_damaged():
    body = zlib.compress(bytes(49 * 8))[:-6]
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 48, 8, 8, 0, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", body[:5])
    with pytest.raises(MediaError):
        only(data + chunk(b"IEND", b""))


def video(path: Path, codec: str = "mpeg4", count: int = 20, damage: bool = False) -> Path:
    av = pytest.importorskip("av")
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=10)
        stream.width = stream.height = 128
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        still = rng.integers(0, 256, (128, 128, 3), np.uint8)
        for i in range(count):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.roll(still, i, 1), format="rgb24")))
        out.mux(stream.encode())
    if damage:
        data = bytearray(path.read_bytes())
        data[len(data) // 2 : len(data) // 2 + 400] = b"\xff\xd5" * 200
        path.write_bytes(data)
    return path


@pytest.mark.parametrize("codec", ["mpeg4", "mjpeg"])
def test_damage_that_the_decoder_conceals_is_an_error_row(tmp_path: Path, codec: str):
    whole = list(open_sources([video(tmp_path / "whole.avi", codec)]))
    assert not any(isinstance(each, Failure) for each in whole)
    damaged = list(open_sources([video(tmp_path / "damaged.avi", codec, damage=True)]))
    assert any(isinstance(each, Failure) and "damaged" in each.message for each in damaged)


def test_a_video_without_a_wanted_frame_is_an_error_row(tmp_path: Path):
    from mien.media import Clip

    (failure,) = open_sources([video(tmp_path / "a.avi", count=5)], clip=Clip(start_s=70))
    assert isinstance(failure, Failure)
    assert "no frame in the part that is wanted" in failure.message


def test_a_video_without_a_telling_name_is_a_video(tmp_path: Path):
    video(tmp_path / "a.avi", count=5).rename(tmp_path / "clip")
    (item,) = list_items([tmp_path])
    assert item.is_video
    assert len(list(open_sources([tmp_path / "clip"]))) == 5


def test_a_picture_of_16_bits_in_color_has_a_lower_limit():
    ok, data = cv2.imencode(".png", np.zeros((30, 30, 3), np.uint16))
    assert ok
    assert only(data.tobytes(), Limits(2000)).pixels.shape == (30, 30, 3)
    with pytest.raises(MediaError, match="larger than the limit of 800 pixels"):
        only(data.tobytes(), Limits(1500))
