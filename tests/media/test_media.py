"""Pictures of every kind, whole and damaged -> frames."""

from __future__ import annotations

import io
import os
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage
from PIL import features

from mien.errors import MediaError
from mien.media.image import UNTIMED_MS, decode, read_image
from mien.media.limits import MAX_PIXELS, Limits, jpeg_limit

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # what Pillow says of damaged metadata

RED, GREEN, BLUE, WHITE = (0, 0, 255), (0, 255, 0), (255, 0, 0), (255, 255, 255)
"""BGR."""

RAMP_16 = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def encode(picture: PillowImage.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


def animation(format: str, durations: list[int] | int = 100, **options) -> bytes:
    first, *rest = (PillowImage.new("RGB", (16, 8), color) for color in ("red", "lime", "blue"))
    return encode(first, format, save_all=True, append_images=rest, duration=durations, **options)


def noise(height: int = 24, width: int = 32) -> PillowImage.Image:
    return PillowImage.fromarray(np.random.default_rng(7).integers(0, 256, (height, width, 3), dtype=np.uint8))


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, bits: int, color_type: int, rows: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return PNG_SIGNATURE + chunks


def only(data: bytes) -> np.ndarray:
    (frame,) = decode(data, "picture")
    assert (frame.source, frame.index, frame.time_s) == ("picture", 0, None)
    assert frame.image.dtype == np.uint8
    assert frame.image.ndim == 3
    assert frame.image.shape[2] == 3
    assert frame.image.flags["C_CONTIGUOUS"]
    return frame.image


def frames_and_error(data: bytes) -> tuple[list, MediaError | None]:
    frames = []
    try:
        # A limit, as damage can make a header promise a canvas that takes gigabytes and minutes to clear.
        for frame in decode(data, "picture", Limits(1_000_000)):
            frames.append(frame)  # noqa: PERF402 - a list comprehension would lose what came before the error
    except MediaError as error:
        return frames, error
    return frames, None


# --- whole pictures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "PPM", "GIF"])
def test_colors_are_bgr(format):
    assert tuple(only(encode(PillowImage.new("RGB", (5, 3), "red"), format))[2, 4]) == RED


def test_lossless_pixels_survive():
    picture = noise()
    assert np.array_equal(only(encode(picture, "PNG")), np.asarray(picture)[..., ::-1])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation(format, orientation):
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :16] = (255, 0, 0)  # red at the top left,
    upright[8:, 16:] = (0, 0, 255)  # blue at the bottom right
    # The camera stores what orientation N turns back: the inverse of each of the eight turns of the square.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = PillowImage.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if format == "WEBP" else {}
    image = only(encode(PillowImage.fromarray(np.ascontiguousarray(stored)), format, exif=exif, **options))
    assert image.shape == (16, 32, 3)
    assert np.allclose(image[2, 4], RED, atol=8)
    assert np.allclose(image[-3, -5], BLUE, atol=8)
    assert np.allclose(image[2, -5], 0, atol=8)


def test_damaged_exif_does_not_cost_the_picture():
    exif = PillowImage.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "maker"
    data = encode(noise(), "JPEG", exif=exif)
    tags = data.index(b"Exif\0\0") + 6
    for position in range(tags, tags + int.from_bytes(data[tags - 8 : tags - 6], "big") - 8):
        for value in (0, 1, 7, 255):
            damaged = data[:position] + bytes([value]) + data[position + 1 :]
            assert sorted(only(damaged).shape) == [3, 24, 32]


@pytest.mark.parametrize("mode", ["L", "LA", "1", "P", "PA", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "F"])
def test_every_mode_becomes_bgr(mode):
    format = "TIFF" if mode in {"CMYK", "YCbCr", "LAB", "F", "PA"} else "PNG"
    picture = PillowImage.new(mode, (6, 4)) if mode == "I;16" else PillowImage.new("RGB", (6, 4)).convert(mode)
    assert only(encode(picture, format)).shape == (4, 6, 3)


def test_gray():
    values = np.arange(64, dtype=np.uint8).reshape(8, 8)
    assert np.array_equal(only(encode(PillowImage.fromarray(values), "PNG")), np.repeat(values[..., None], 3, 2))


def test_one_bit():
    image = only(encode(PillowImage.fromarray(np.eye(8) > 0), "PNG"))
    assert tuple(image[0, 0]) == WHITE
    assert tuple(image[0, 1]) == (0, 0, 0)


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
def test_16_bit_gray(format):
    image = only(encode(PillowImage.fromarray(RAMP_16), format))
    assert np.array_equal(image[..., 0], RAMP_16 >> 8)


def test_16_bit_big_endian_tiff():
    image = only(encode(PillowImage.fromarray(RAMP_16.astype(">u2")), "TIFF"))
    assert np.array_equal(image[..., 0], RAMP_16 >> 8)


def test_16_bit_color_png():
    rows = b"".join(b"\0" + np.stack([line] * 3, -1).astype(">u2").tobytes() for line in RAMP_16)
    assert np.array_equal(only(png(8, 8, 16, 2, rows))[..., 1], RAMP_16 >> 8)


def test_8_bit_values_in_a_16_bit_file_are_not_darkened():
    assert only(encode(PillowImage.fromarray((RAMP_16 >> 8).astype(np.uint16)), "PNG")).max() == 255


def test_float_tiff_spans_its_own_range():
    values = np.linspace(-1, 3, 64, dtype=np.float32).reshape(8, 8)
    image = only(encode(PillowImage.fromarray(values), "TIFF"))
    assert image[0, 0, 0] == 0
    assert image[7, 7, 0] == 255
    assert abs(int(image[4, 0, 0]) - 129) <= 1


@pytest.mark.filterwarnings("error")
def test_float_tiff_with_holes():
    values = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    values[0, :3] = np.nan, np.inf, -np.inf
    image = only(encode(PillowImage.fromarray(values), "TIFF"))
    assert image[0, :3].max() == 0
    assert image[7, 7, 0] == 255
    assert only(encode(PillowImage.fromarray(np.full((4, 4), np.nan, np.float32)), "TIFF")).max() == 0


def test_transparency_is_laid_over_white():
    clear = encode(PillowImage.new("RGBA", (4, 4), (255, 0, 0, 0)), "PNG")
    half = encode(PillowImage.new("RGBA", (4, 4), (255, 0, 0, 128)), "PNG")
    solid = encode(PillowImage.new("RGBA", (4, 4), (255, 0, 0, 255)), "PNG")
    assert tuple(only(clear)[0, 0]) == WHITE
    assert tuple(only(half)[0, 0]) == (127, 127, 255)
    assert tuple(only(solid)[0, 0]) == RED


def test_palette_with_transparency():
    picture = PillowImage.new("P", (4, 4), 1)
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.putpixel((0, 0), 0)
    image = only(encode(picture, "PNG", transparency=1))
    assert tuple(image[0, 0]) == RED
    assert tuple(image[1, 1]) == WHITE


def test_cmyk_jpeg():
    image = only(encode(PillowImage.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
    assert np.allclose(image[4, 4], RED, atol=4)


def test_a_picture_of_one_pixel():
    assert only(encode(PillowImage.new("RGB", (1, 1), "blue"), "PNG")).tolist() == [[list(BLUE)]]


# --- animations -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "AVIF"])
def test_animation_frames_and_times(format):
    if format == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    frames = list(decode(animation(format, [100, 200, 300]), "film"))
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert [frame.time_s for frame in frames] == [0.0, 0.1, 0.3]
    for frame, color in zip(frames, (RED, GREEN, BLUE), strict=True):
        assert np.allclose(frame.image, color, atol=6)


def test_untimed_animation_moves_on():
    times = [frame.time_s for frame in decode(animation("GIF", 0), "film")]
    assert times == [0, UNTIMED_MS / 1000, 2 * UNTIMED_MS / 1000]


@pytest.mark.parametrize("format", ["TIFF", "MPO"])
def test_pages_and_stereo_pairs_are_stills(format):
    assert np.allclose(only(animation(format))[4, 8], RED, atol=4)


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP"])
def test_frames_before_the_damage_are_kept(format):
    data = encode(noise(), format, save_all=True, append_images=[noise().rotate(90), noise().rotate(180)], duration=40)
    seen = set()
    for cut in range(len(data) // 8, len(data) - 16, max(len(data) // 40, 1)):
        frames, error = frames_and_error(data[:cut])
        if error is None:  # a GIF does not say how many frames it has: cut between two, it is a shorter one
            assert format == "GIF"
            continue
        assert [frame.time_s for frame in frames] == [0.0, 0.04][: len(frames)]
        seen.add(len(frames))
    # A WebP file says its length first, and its reader wants all of it.
    assert seen == ({0} if format == "WEBP" else {0, 1, 2})


# --- damaged, hostile, absent -----------------------------------------------------------------------------------------


def test_empty_file(tmp_path):
    (tmp_path / "a.jpg").touch()
    with pytest.raises(MediaError, match=r"a\.jpg: the file is empty \(0 bytes\); expected a picture"):
        list(read_image(tmp_path / "a.jpg"))


def test_text_called_jpg(tmp_path):
    (tmp_path / "a.jpg").write_text("not a picture\n")
    with pytest.raises(MediaError, match=r"a\.jpg: not a picture in a known format \(it begins with b'not a pi'\)"):
        list(read_image(tmp_path / "a.jpg"))


def test_missing_file(tmp_path):
    with pytest.raises(MediaError, match="no such file"):
        list(read_image(tmp_path / "a.jpg"))


def test_folder(tmp_path):
    with pytest.raises(MediaError, match="a folder; expected one picture"):
        list(read_image(tmp_path))


@pytest.mark.parametrize("name", ["a\0b.jpg", "\ud800.jpg", "x" * 5000])
def test_impossible_names(name):
    with pytest.raises(MediaError):
        list(read_image(Path(name)))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_unreadable_file(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encode(noise(), "PNG"))
    path.chmod(0)
    with pytest.raises(MediaError, match="cannot be read"):
        list(read_image(path))


def test_postscript_is_not_run():
    """Pillow would start Ghostscript for it."""
    page = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    with pytest.raises(MediaError, match="not a picture in a known format"):
        list(decode(page, "page"))


def test_a_header_that_claims_60000_x_60000():
    bomb = png(60_000, 60_000, 8, 2, bytes(100))
    tracemalloc.start()
    with pytest.raises(MediaError, match=f"larger than the limit of {MAX_PIXELS:,} pixels; shrink it"):
        list(decode(bomb, "bomb"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4_000_000


def test_a_picture_smaller_than_it_claims():
    """Below the limit, but with no pixels behind the header."""
    with pytest.raises(MediaError, match="truncated or damaged"):
        list(decode(png(2_000, 2_000, 8, 2, bytes(100)), "thin"))


@pytest.mark.filterwarnings("error")
def test_a_large_camera_picture_gives_no_warning():
    """Pillow warns from 89 megapixels; mien's own limit is the one that counts."""
    side = 9_600
    data = encode(PillowImage.new("1", (side, side)), "PNG")
    with pytest.raises(MediaError, match="raise the limit"):
        list(decode(data, "big", Limits(side * side - 1)))


def jpeg(mode: str, **how) -> bytes:
    return encode(noise(100, 100).convert(mode), "JPEG", **how)


@pytest.mark.parametrize(
    ("data", "share"),
    [
        (jpeg("RGB", subsampling=0), 1),
        (jpeg("L", progressive=True), 1),
        (jpeg("RGB", subsampling=2, progressive=True), 1),
        (jpeg("RGB", subsampling=0, progressive=True), 8 / 10),
        (jpeg("CMYK", progressive=True), 8 / 12),
        (jpeg("RGB", subsampling=0).replace(b"\xff\xda\0\x0c\3", b"\xff\xda\0\x0c\1"), 8 / 10),
    ],
)
def test_a_jpeg_of_several_scans_takes_more_memory_and_may_have_fewer_pixels(data: bytes, share: float):
    assert jpeg_limit(data, 12_000) == int(12_000 * share)
    if share < 8 / 10:
        with pytest.raises(MediaError, match="larger than the limit of 8,000 pixels"):
            list(decode(data, "a.jpg", Limits(max_pixels=12_000)))


@given(st.binary(max_size=60))
def test_any_header_has_a_limit(data: bytes):
    assert 0 < jpeg_limit(b"\xff\xd8" + data, 1_000_000) <= 1_000_000


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<!DOCTYPE html><html><body>404</body></html>", "a web page"),
        (b"\xef\xbb\xbf\n <html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a", "git lfs pull"),
        (b"%PDF-1.7", "a PDF document"),
        (b"<?xml version='1.0'?><svg width='3'/>", "an SVG drawing"),
        (b"\xff\x0a\xfa\x1f", "a JPEG XL picture"),
        (b"II*\0\x08\0\0\0", "damaged header, or with pixels of a kind"),
        (b"\x1aE\xdf\xa3", "a video"),
        (b"not a picture", "it begins with b'not a pi'"),
    ],
)
def test_a_file_that_is_no_picture_is_called_what_it_looks_like(data: bytes, words: str):
    with pytest.raises(MediaError, match=rf"known format \(.*{words}"):
        list(decode(data, "a.jpg"))


@pytest.mark.parametrize(("kind", "channels", "share"), [("f4", 3, 8 / 16), ("f8", 3, 8 / 28), ("f8", 4, 8 / 36)])
def test_a_tiff_of_floats_may_have_as_many_pixels_as_its_numbers_allow(kind: str, channels: int, share: float):
    cv2 = pytest.importorskip("cv2")
    data = cv2.imencode(".tif", np.random.default_rng(0).random((20, 20, channels)).astype(kind))[1].tobytes()
    assert len(list(decode(data, "a.tif", Limits(max_pixels=int(400 / share) + 1)))) == 1
    with pytest.raises(MediaError, match="larger than the limit"):
        list(decode(data, "a.tif", Limits(max_pixels=int(400 / share) - 10)))


def test_pixel_limit():
    data = encode(noise(24, 32), "PNG")
    assert len(list(decode(data, "x", Limits(24 * 32)))) == 1
    with pytest.raises(
        MediaError, match="32 x 24 is larger than the limit of 767 pixels; shrink it or raise the limit"
    ):
        list(decode(data, "x", Limits(24 * 32 - 1)))


def _samples() -> dict[str, bytes]:
    made = {name: encode(noise(), name) for name in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM")}
    made["JPEG progressive"] = encode(noise(), "JPEG", progressive=True)
    made["TIFF LZW"] = encode(noise(), "TIFF", compression="tiff_lzw")
    made |= {f"{name} animation": animation(name) for name in ("GIF", "WEBP", "PNG")}
    return made


SAMPLES = _samples()


@pytest.mark.parametrize("name", SAMPLES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_truncated_pictures(name, data):
    whole = SAMPLES[name]
    frames, error = frames_and_error(whole[: data.draw(st.integers(0, len(whole) - 1), label="cut")])
    # Some formats end in a marker that a reader can do without: a cut there loses nothing. A GIF animation does not say
    # how many frames it has: cut between two of them, it is a shorter animation.
    assert error is not None or name == "GIF animation" or len(frames) == len(list(decode(whole, "whole")))


@pytest.mark.parametrize("name", SAMPLES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_altered_pictures(name, data):
    altered = bytearray(SAMPLES[name])
    places = st.integers(0, len(altered) - 1) | st.integers(0, min(len(altered), 120) - 1)
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=5)):
        altered[place] = value
    frames, _ = frames_and_error(bytes(altered))
    assert all(frame.image.ndim == 3 and frame.image.shape[2] == 3 for frame in frames)


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=200),
    st.sampled_from(
        [b"", b"\xff\xd8\xff\xe0", PNG_SIGNATURE, b"GIF89a", b"RIFF\0\0\0\0WEBP", b"II*\0", b"P6 9 9 255\n", b"BM"]
    ),
)
@example(b"", PNG_SIGNATURE)
def test_random_bytes(tail, head):
    frames_and_error(head + tail)
