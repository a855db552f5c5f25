"""What small files cost: the peak memory of reading pictures as large as the limits allow. Linux.

python benchmarks/large_files.py

Each picture is made, and read, in a process of its own; the peak is that of the process, 60 MB of libraries included.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from mien.errors import MediaError
from mien.media import read_image

MEGAPIXEL = 1_000_000


def _saved(kind: str, side: int, mode: str, **options: object) -> bytes:
    out = io.BytesIO()
    Image.MAX_IMAGE_PIXELS = None
    Image.new(mode, (side, side)).save(out, kind, **options)
    return out.getvalue()


def _deep_png() -> bytes:
    import cv2

    return bytes(cv2.imencode(".png", np.zeros((7280, 7280, 3), np.uint16))[1])


def _floats() -> bytes:
    import cv2

    return bytes(cv2.imencode(".tif", np.zeros((900, 900, 3), np.float32))[1])


def _lying_jpeg() -> bytes:
    data = bytearray(_saved("JPEG", 64, "RGB"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = (9000).to_bytes(2, "big") * 2
    return bytes(data)


def _gif() -> bytes:
    frames = [Image.new("P", (4000, 4000), number % 256) for number in range(12)]
    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    return out.getvalue()


PICTURES: dict[str, Callable[[], bytes]] = {
    "JPEG, 99 megapixels": lambda: _saved("JPEG", 9990, "RGB"),
    "JPEG, progressive, 99 megapixels": lambda: _saved("JPEG", 9990, "RGB", progressive=True),
    "JPEG whose header lies": _lying_jpeg,
    "PNG, 99 megapixels": lambda: _saved("PNG", 9990, "RGBA", compress_level=1),
    "PNG of 16 bits in color, 53 megapixels": _deep_png,
    "WebP, 39 megapixels": lambda: _saved("WEBP", 6300, "RGB", method=0),
    "TIFF of 32 bits in gray, 24 megapixels": lambda: _saved("TIFF", 4900, "F", compression="tiff_lzw"),
    "TIFF of floats in color": _floats,
    "GIF of 12 frames of 16 megapixels": _gif,
}


def main() -> None:
    """Print the size of each file, the peak of the process that reads it, and how long that took."""
    if len(sys.argv) > 1:
        _read(Path(sys.argv[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, make in PICTURES.items():
            path = Path(folder) / "picture"
            path.write_bytes(make())
            done = subprocess.run([sys.executable, __file__, str(path)], capture_output=True, text=True, check=False)
            print(
                f"{name:40} {path.stat().st_size / 1e6:6.2f} MB  {done.stdout.strip() or done.stderr[-200:]}",
                flush=True,
            )


def _read(path: Path) -> None:
    started, pixels, told = time.monotonic(), 0, "read"
    try:
        for frame in read_image(path):
            pixels += frame.pixels.shape[0] * frame.pixels.shape[1]
    except MediaError:
        told = "refused"
    # Not getrusage: that counts the memory of the process which started this one, too.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
    print(f"peak {peak / 1e6:5.0f} MB  {told}, {pixels / MEGAPIXEL:.0f} megapixels, {time.monotonic() - started:.1f} s")


if __name__ == "__main__":
    main()
