"""Damaged files of every kind, drawn at random: no traceback, hang, crash or lost row, and no altered bundle accepted.

python benchmarks/fuzz.py [--scale 0.1] [--kinds pictures,bundles] [--seed 1] [--keep FOLDER]

Each file goes to a process of its own kind with a bound on time and memory. `--keep` saves the files that fail.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import sys
import tarfile
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from importlib import resources
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from PIL import Image

from mien.dataset import import_fer2013, open_dataset
from mien.errors import MienError
from mien.media import Limits, list_items, read_item
from mien.model import onnxfile
from mien.model.bundle import GOLDEN_KEY, MANIFEST_KEY, load_bundle
from mien.model.session import Session
from mien.records import Failure, Frame

COUNTS = {"pictures": 10_000, "videos": 500, "archives": 1_000, "bundles": 1_000, "manifests": 1_000, "tables": 500,
          "recipes": 500}  # fmt: skip
"""How many of each kind are tried at scale 1."""

TIME_S = 60.0
"""A file that takes longer hangs: far beyond what any of these takes on a busy machine."""

MEMORY_BYTES = 3_000_000_000
LONGEST_MESSAGE = 1000

Seeds = list[tuple[str, bytes]]
"""Names, and what the whole files hold."""


class Fault(Exception):
    """What must never happen, other than a foreign exception."""


def face(side: int = 96) -> Image.Image:
    """A face from the bundled sample."""
    with Image.open(str(resources.files("mien") / "samples/astronaut.jpg")) as picture:
        return picture.convert("RGB").crop((150, 0, 350, 200)).resize((side, side))


def pictures() -> Seeds:
    """One in each format, and some of their variants."""
    picture, seeds = face(), Seeds()
    deep = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 200)
    variants: list[tuple[str, Image.Image, str, dict[str, object]]] = [
        ("a.jpg", picture, "JPEG", {}), ("b.jpg", picture, "JPEG", {"progressive": True}),
        ("a.png", picture, "PNG", {}), ("b.png", picture.convert("P"), "PNG", {}), ("c.png", deep, "PNG", {}),
        ("a.gif", picture, "GIF", {"save_all": True, "append_images": [picture.rotate(90)]}),
        ("a.webp", picture, "WEBP", {}), ("b.webp", picture, "WEBP", {"save_all": True, "append_images": [picture]}),
        ("a.tif", picture, "TIFF", {}), ("b.tif", picture, "TIFF", {"compression": "tiff_lzw"}),
        ("c.tif", picture.convert("F"), "TIFF", {}), ("a.bmp", picture, "BMP", {}), ("a.ppm", picture, "PPM", {}),
        ("a.jp2", picture, "JPEG2000", {}), ("a.avif", picture, "AVIF", {}),
    ]  # fmt: skip
    for name, image, kind, options in variants:
        out = io.BytesIO()
        with suppress(OSError, KeyError, ValueError):  # not in every Pillow
            image.save(out, kind, **options)
            seeds.append((name, out.getvalue()))
    return seeds


def videos() -> Seeds:
    """Eight frames in common containers."""
    import av

    image, seeds = np.asarray(face(64)), Seeds()
    for name, codec in (("a.mp4", "libx264"), ("a.mkv", "mpeg4"), ("a.avi", "mjpeg"), ("a.ts", "mpeg2video")):
        out = io.BytesIO()
        kind = {"mkv": "matroska", "ts": "mpegts"}.get(name[2:], name[2:])
        with av.open(out, "w", format=kind) as file:
            stream = file.add_stream(codec, rate=25)
            stream.width = stream.height = 64
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            for shift in range(8):
                pixels = np.ascontiguousarray(np.roll(image, shift, 1))
                file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            file.mux(stream.encode())
        seeds.append((name, out.getvalue()))
    return seeds


def archives() -> Seeds:
    """Three pictures in zips and tars."""
    files = [(f"p{number}.{name[2:]}", data) for number, (name, data) in enumerate(pictures()[:3])]
    seeds = Seeds()
    for name, how in (("a.zip", zipfile.ZIP_STORED), ("b.zip", zipfile.ZIP_DEFLATED)):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", how) as packed:
            for file, data in files:
                packed.writestr(file, data)
        seeds.append((name, out.getvalue()))
    for name, mode in (("a.tar", "w"), ("a.tgz", "w:gz"), ("a.tar.xz", "w:xz"), ("a.tar.bz2", "w:bz2")):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode=mode) as packed:  # type: ignore[call-overload]
            for file, data in files:
                about = tarfile.TarInfo(file)
                about.size = len(data)
                packed.addfile(about, io.BytesIO(data))
        seeds.append((name, out.getvalue()))
    return seeds


def bundles() -> Seeds:
    """The bundled model."""
    return [("m.onnx", load_bundle("default").model)]


def manifests() -> Seeds:
    """What the bundled model says of itself."""
    return [("m.manifest.json", load_bundle("default").manifest.to_json().encode())]


def tables() -> Seeds:
    """A small fer2013.csv, and a table of paths."""
    draw = np.random.default_rng(0)
    usages = ("Training", "PublicTest", "PrivateTest")
    rows = (f"{i % 7},{' '.join(map(str, draw.integers(0, 256, 2304)))},{usages[i % 3]}" for i in range(4))
    return [
        ("fer2013.csv", "\n".join(["emotion,pixels,Usage", *rows, ""]).encode()),
        ("table.csv", b"path,label,split\na.jpg,happy,train\nb.jpg,sad,validation\n"),
    ]


def recipes() -> Seeds:
    """Those that come with mien."""
    from mien_train.recipes import bundled_recipes

    return [(f"{name}.toml", path.read_bytes()) for name, path in bundled_recipes().items()]


# --- what is done with a damaged file: returns "read" or "refused" ----------------------------------------------------


def try_media(path: Path, whole: bytes) -> str:
    """Every item has a row: a frame or a failure; a member that is missing is said."""
    told: list[str] = []
    items = list_items([path], told.append)
    results = [result for item in items for result in read_item(item, limits=Limits(20_000_000))]
    if not results:
        raise Fault("no row")
    for result in results:
        check_message(result.message if isinstance(result, Failure) else "")
    failed = any(isinstance(result, Failure) for result in results)
    frames = sum(isinstance(result, Frame) for result in results)
    if path.suffix in (".zip", ".tar", ".tgz", ".xz", ".bz2") and frames < 3 and not (failed or told):
        raise Fault(f"{frames} rows of 3, and no word about the others")
    return "refused" if failed else "read"


def try_bundle(path: Path, whole: bytes) -> str:
    """No altered bundle is accepted."""
    load_bundle(path)
    if path.read_bytes() != whole:
        raise Fault("an altered bundle was accepted")
    return "read"


def try_manifest(path: Path, whole: bytes) -> str:
    """A model with this manifest beside it is refused, or reads a face."""
    model = path.with_name("m.onnx")
    if not model.exists():
        bare = onnxfile.without(load_bundle("default").model, {MANIFEST_KEY, GOLDEN_KEY, onnxfile.SEAL_KEY}, "default")
        model.write_bytes(bare)
    session = Session(load_bundle(model), 1)
    spec = session.manifest.input
    rows, _ = session.run(np.zeros((1, spec.height, spec.width, spec.channels), np.uint8))
    if not np.isfinite(rows).all() or abs(float(rows.sum()) - 1) > 0.05:
        raise Fault("probabilities that do not sum to one")
    return "read"


def try_table(path: Path, whole: bytes) -> str:
    """Each row is imported or named."""
    if path.name == "fer2013.csv":
        with tempfile.TemporaryDirectory(dir=path.parent) as out:
            report = import_fer2013(path, Path(out) / "out")
        for line in report.failed:
            check_message(line)
        return "refused" if report.failed else "read"
    for name in ("a.jpg", "b.jpg"):
        path.with_name(name).touch()
    open_dataset(path, "validation")
    return "read"


def try_recipe(path: Path, whole: bytes) -> str:
    """Read, or refused."""
    from mien_train.recipe import load_recipe

    load_recipe(path)
    return "read"


def check_message(text: str) -> None:
    """What people can read."""
    if len(text) > LONGEST_MESSAGE:
        raise Fault(f"a message of {len(text)} characters")


Try = Callable[[Path, bytes], str]
KINDS: dict[str, tuple[Callable[[], Seeds], Try]] = {
    "pictures": (pictures, try_media), "videos": (videos, try_media), "archives": (archives, try_media),
    "bundles": (bundles, try_bundle), "manifests": (manifests, try_manifest), "tables": (tables, try_table),
    "recipes": (recipes, try_recipe),
}  # fmt: skip
TEXT = frozenset({"manifests", "tables", "recipes"})

TOKENS = (b'"', b",", b"\0", b"\n", b"[", b"{", b"=", b"1e999", b"NaN", b"-1", b"999999999999", b"\xff\xfe", b"null",
          b"true", b"''", b"\xef\xbb\xbf", b"\xe9", b"0.0000001")  # fmt: skip
EXTREMES = (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x00\x00\x00\x00", b"\x80\x00\x00\x00", b"\xff\xff\xff\x7f")


def mutated(whole: bytes, draw: random.Random, text: bool = False) -> bytes:
    """One to four damages; never the same bytes."""
    while True:
        data = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            _damage(data, draw, text)
        if bytes(data) != whole:
            return bytes(data)


def _damage(data: bytearray, draw: random.Random, text: bool) -> None:
    size = len(data) or 1
    # Half of the damages near the beginning, where formats say what they are.
    at = min(int(size * draw.random() ** draw.choice((1, 4))), max(len(data) - 1, 0))
    end = min(at + draw.choice((1, 4, 64, 1024)), len(data))
    what = draw.randrange(8)
    if text and draw.random() < 0.5:
        data[at : draw.choice((at, end))] = draw.choice(TOKENS)
    elif what == 0 and data:
        data[at] ^= 1 << draw.randrange(8)
    elif what == 1:
        data[at:end] = draw.randbytes(end - at)
    elif what == 2:
        del data[at:]
    elif what == 3:
        del data[at:end]
    elif what == 4:
        data[at:at] = data[at:end]
    elif what == 5:
        data[at:end] = bytes(end - at)
    elif what == 6:
        data[at : at + 4] = draw.choice(EXTREMES)
    else:
        data[at:at] = draw.randbytes(draw.choice((1, 16, 512)))


def attempt(kind: str, number: int, seed: int, folder: Path) -> tuple[str, str]:
    """Try one damaged file: ("read" or "refused" or "traceback" or "fault", what happened)."""
    seeds = _seeds(kind)
    draw = random.Random(f"{seed} {kind} {number}")
    name, whole = seeds[number % len(seeds)]
    path = folder / name
    path.write_bytes(mutated(whole, draw, kind in TEXT))
    try:
        return KINDS[kind][1](path, whole), ""
    except MienError as error:
        if len(str(error)) > LONGEST_MESSAGE:
            return "fault", f"a message of {len(str(error))} characters: {str(error)[:200]}"
        return "refused", ""
    except Fault as error:
        return "fault", str(error)
    except Exception:
        return "traceback", traceback.format_exc()


_made: dict[str, Seeds] = {}


def _seeds(kind: str) -> Seeds:
    if kind not in _made:
        _made[kind] = KINDS[kind][0]()
    return _made[kind]


# --- processes --------------------------------------------------------------------------------------------------------


def _work(to: Connection, kind: str, first: int, last: int, seed: int, folder: str) -> None:
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    _seeds(kind)
    to.send(None)
    for number in range(first, last):
        to.send(attempt(kind, number, seed, Path(folder)))


def fuzz(kind: str, count: int, seed: int, keep: Path | None = None) -> tuple[Counter[str], list[str]]:
    """Try `count` damaged files; returns how many ended how, and a line for each that must not have."""
    found, faults = Counter[str](), list[str]()
    number = 0
    while number < count:
        with tempfile.TemporaryDirectory() as folder:
            mine, its = get_context("spawn").Pipe(duplex=False)
            child = get_context("spawn").Process(target=_work, args=(its, kind, number, count, seed, folder))
            child.start()
            its.close()
            try:
                mine.recv()
                while number < count:
                    how, what = mine.recv() if mine.poll(TIME_S) else ("hang", f"longer than {TIME_S:g} s")
                    _note(found, faults, kind, number, how, what, folder, keep)
                    number += 1
                    if how == "hang":
                        break
            except EOFError:
                child.join()
                _note(found, faults, kind, number, "crash", f"exit code {child.exitcode}", folder, keep)
                number += 1
            finally:
                child.kill()
                child.join()
    return found, faults


def _note(
    found: Counter[str], faults: list[str], kind: str, number: int, how: str, what: str, folder: str, keep: Path | None
) -> None:
    found[how] += 1
    if how in ("read", "refused"):
        return
    faults.append(f"{kind} {number}: {how}: {what.strip()}")
    if keep:
        name = _seeds(kind)[number % len(_seeds(kind))][0]
        keep.mkdir(parents=True, exist_ok=True)
        with suppress(OSError):
            (keep / f"{kind}-{number}-{name}").write_bytes((Path(folder) / name).read_bytes())


def main() -> None:
    """Print a line for each kind; exit code 1 if anything happened that must not."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path)
    asked = parser.parse_args()
    faults: list[str] = []
    columns = ("read", "refused", "traceback", "hang", "crash", "fault")
    print("kind        tried" + "".join(f"{name:>10}" for name in columns) + "   seconds")
    for kind in asked.kinds.split(","):
        started, count = time.monotonic(), max(round(COUNTS[kind] * asked.scale), 1)
        found, bad = fuzz(kind, count, asked.seed, asked.keep)
        faults += bad
        ended = "".join(f"{found[name]:10}" for name in columns)
        print(f"{kind:10} {found.total():6}{ended}{time.monotonic() - started:10.0f}", flush=True)
    for line in faults[:20]:
        print(f"\n{line[-2000:]}")
    print(json.dumps({"seed": asked.seed, "faults": len(faults)}))
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
