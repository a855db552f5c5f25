"""Writes the page as static files, for any web server: pictures are then read on the visitor's device alone."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from mien.errors import OutputError, Remedy
from mien.files import make_folder, replacing
from mien.model.bundle import Bundle
from mien.model.prior import Prior
from mien.web.site import HEADERS, has_device_mode, page_files

_LAST = ("site.json", "index.html")
"""Written when everything they name is there, so that an interrupted export never serves half a page."""


def write_site(
    out: Path, *, model: str | os.PathLike[str] | Bundle = "default", answer: str | None = None,
    prior: Prior | None = None, overwrite: bool = False,
) -> list[Path]:  # fmt: skip
    """Write the page into a folder.

    Args:
        out: a folder that does not exist or is empty; with `overwrite`, files in it are replaced.
        model: the bundle that the page reads faces with, or its name or path.
        answer, prior: which of its answers the page gives, and the mix of classes to expect.
        overwrite: whether `out` may hold files already.

    Returns:
        The files written.

    Raises:
        OutputError: the folder is taken, cannot be written, or this installation lacks the files of the device mode.
        MienError: the model cannot be used.
    """
    if not has_device_mode():
        raise OutputError(
            "expected ONNX Runtime Web beside the page, found none: a page without a server needs it; "
            "run `make web` in the source tree, or install a wheel that was built after it"
        )
    if out.is_file():
        raise OutputError(f"{out}: a file; expected a folder")
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise OutputError(
            f"{out}: expected an empty folder, found files; choose another, or replace them", Remedy.OVERWRITE
        )
    files = page_files(server=False, model=model, answer=answer, prior=prior)
    files["README.txt"] = _note().encode()
    written: list[Path] = []
    for name in sorted(files, key=lambda name: (name in _LAST, name)):
        target = out / name
        make_folder(target.parent)
        with replacing(target) as temporary:
            _write(temporary, files[name])
        written.append(target)
    return written


def _write(target: Path, content: Path | bytes) -> None:
    if isinstance(content, bytes):
        target.write_bytes(content)
    else:
        shutil.copyfile(content, target)


def _note() -> str:
    headers = "\n".join(f"    {name}: {value}" for name, value in HEADERS.items())
    return f"""These files are a web page that finds faces and reads the expression they show, on the visitor's device.
Put them into any folder of any web server. The address must begin with https:// (or be this computer's own), for
browsers give the camera and the offline store to no other page.

The page works without special headers. With these it is safer, and faster at the first visit:

{headers}
    Cache-Control: no-cache            (max-age=31536000, immutable for addresses with ?v=)

The server must send .wasm files as application/wasm and .js and .mjs files as text/javascript.
Let it compress .wasm, .onnx and .js files: the page then loads about 5 MB instead of 15.
Try it on this computer: python3 -m http.server --bind 127.0.0.1 8000
"""
