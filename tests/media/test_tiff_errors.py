"""Damage that libtiff reports and Pillow passes over: an error, and nothing on stderr."""

from __future__ import annotations

import io
import random
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

from mien.errors import MediaError
from mien.media import read_image
from mien.media.image import DAMAGED, decode
from mien.media.limits import Limits

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Pillow has libtiff built in there")


def fax(damaged: bool) -> bytes:
    """A page as a fax machine packs it; damaged, one bit of its pixels is another."""
    page = Image.radial_gradient("L").convert("1")
    file = io.BytesIO()
    page.save(file, "TIFF", compression="group4")
    data = bytearray(file.getvalue())
    if damaged:
        data[1000] ^= 4
    return bytes(data)


def test_damage_that_pillow_passes_over_is_an_error(capfd: pytest.CaptureFixture[str]):
    assert len(list(decode(fax(False), "a.tif"))) == 1
    with pytest.raises(MediaError, match="Fax4Decode found data that it cannot decode"):
        list(decode(fax(True), "a.tif"))
    assert capfd.readouterr().err == ""


def test_asked_for_what_there_is_is_taken_and_marked(capfd: pytest.CaptureFixture[str]):
    (frame,) = decode(fax(True), "a.tif", Limits(truncated=True))
    assert frame.note == DAMAGED
    assert capfd.readouterr().err == ""


def test_a_thread_has_the_errors_of_its_own_pictures():
    whole = fax(False)
    pages = [whole, fax(True)] * 20
    random.Random(0).shuffle(pages)

    def is_whole(data: bytes) -> bool:
        try:
            return len(list(decode(data, "a.tif"))) == 1
        except MediaError:
            return False

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(is_whole, pages)) == [page == whole for page in pages]


@pytest.mark.parametrize("packing", ["tiff_lzw", "tiff_adobe_deflate", "jpeg"])
def test_no_damaged_tiff_prints_on_stderr(packing: str, capfd: pytest.CaptureFixture[str], tmp_path: Path):
    file = io.BytesIO()
    Image.effect_noise((64, 64), 50).convert("RGB").save(file, "TIFF", compression=packing)
    chance = random.Random(1)
    for _ in range(30):
        data = bytearray(file.getvalue())
        data[chance.randrange(8, len(data))] ^= 1 << chance.randrange(8)
        (tmp_path / "a.tif").write_bytes(data)
        with suppress(MediaError):
            list(read_image(tmp_path / "a.tif"))
    assert capfd.readouterr().err == ""
