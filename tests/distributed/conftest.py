"""A local S3 server, Ray started once, and small pictures."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mien.batch import Job
from mien.model.bundle import write_bundle
from mien.output.writers import open_writer
from mien.run import Run
from tests.models import tiny_golden, tiny_manifest, tiny_onnx

SHARD = 4
"""Pictures in a shard of the tests."""

Deadly = Callable[[str], Path]
"""Makes a folder of pictures with one more, of this name, that kills who reads it."""

KILLER = """
import os, signal
from pathlib import Path
import mien.media.image
real = mien.media.image.decode
def decode(data, source, *args, **options):
    name, killed = Path(source).name, Path(os.environ["KILLED"])
    if name == "poison.png" or name == "once.png" and not killed.exists():
        killed.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return real(data, source, *args, **options)
mien.media.image.decode = decode
"""
"""In every Python that starts: `poison.png` kills each process that decodes it, `once.png` only the first."""


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Reads the whole picture as one face, with a model that costs nothing."""
    path = tmp_path_factory.mktemp("model") / "tiny.onnx"
    write_bundle(path, tiny_onnx(), tiny_manifest(), tiny_golden())
    return Job(str(path), "whole")


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """14 pictures of different brightness in two folders, a broken one, and one with a strange name."""
    root = tmp_path_factory.mktemp("photos")
    (root / "below").mkdir()
    for number in range(14):
        folder = root / "below" if number % 2 else root
        Image.new("RGB", (64, 64), (17 * number, 10 * number, 255 - 18 * number)).save(folder / f"{number:02}.png")
    (root / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    Image.new("RGB", (48, 48), "teal").save(root / "new\nline #1.png")
    return root


@pytest.fixture(scope="session")
def predicted() -> Callable[[Path, Job, Path], list[dict[str, Any]]]:
    """Rows as `mien predict` writes them, sorted."""

    def rows(folder: Path, job: Job, out: Path) -> list[dict[str, Any]]:
        import pyarrow.parquet as parquet

        from mien.media import list_items

        with Run(list_items([str(folder)]), job) as run:
            run.add_sink(open_writer(out, run.recognizer.classes))
            run.read()
        return ordered(parquet.read_table(out).to_pylist())

    return rows


def ordered(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """In one order, whatever the shards."""
    return sorted(rows, key=lambda row: (row["source"], row["frame"], row["face"] or 0))


def rows_in(out: Path) -> list[dict[str, Any]]:
    """All rows of a run in a folder, sorted."""
    import pyarrow.parquet as parquet

    tables = [parquet.read_table(path) for path in sorted((out / "rows").glob("*.parquet"))]
    return ordered([row for table in tables for row in table.to_pylist()])


@pytest.fixture(scope="session")
def s3() -> Iterator[Callable[[str], str]]:
    """A local S3 server: call it with a bucket's name to make the bucket and get its address."""
    pytest.importorskip("obstore")
    moto = pytest.importorskip("moto.server")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    with pytest.MonkeyPatch.context() as patch:
        values = {"ENDPOINT": endpoint, "ALLOW_HTTP": "true", "REGION": "us-east-1"}
        values |= {"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test"}
        for name, value in values.items():
            patch.setenv(f"AWS_{name}", value)

        def bucket(name: str) -> str:
            urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{name}", method="PUT")).read()
            return f"s3://{name}"

        yield bucket
    server.stop()


@pytest.fixture
def deadly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photos: Path) -> Deadly:
    """Call it with `poison.png` or `once.png`; it kills processes that start from now on, not this one."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(KILLER)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), *filter(None, sys.path)]))
    monkeypatch.setenv("KILLED", str(tmp_path / "killed"))
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])

    def folder(name: str) -> Path:
        root = tmp_path / "some"
        shutil.copytree(photos, root)
        Image.new("RGB", (64, 64), "red").save(root / name)
        return root

    return folder


@pytest.fixture
def huge_objects() -> Iterator[str]:
    """The endpoint of a store in which every object has 5 GB. A body that is read never ends."""

    class Huge(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(5 * 2**30))
            self.send_header("Last-Modified", "Sun, 01 Jun 2025 00:00:00 GMT")
            self.send_header("ETag", '"5"')
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Huge) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
