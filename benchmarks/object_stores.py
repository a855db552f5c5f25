"""Object stores for `benchmarks/distributed.py`: moto's S3 server, a proxy with faults, and a long listing."""

from __future__ import annotations

import http.client
import os
import random
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from mien.distributed.object_store import ObjectStore

FAULTS = ("refused", "503", "timed out", "cut")
HANG = 4.0
"""Seconds that a request waits for nothing; the client must give up before."""


def use(endpoint: str) -> None:
    """Have this process, and those that it starts, take this for Amazon's store."""
    values = {"ENDPOINT": endpoint, "ALLOW_HTTP": "true", "REGION": "us-east-1"}
    values |= {"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test"}
    os.environ.update({f"AWS_{name}": value for name, value in values.items()})


def free_port() -> int:
    """A port of loopback that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def cpu_seconds(pid: int) -> float:
    """What a process has used of a core so far. Linux."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def moto() -> Iterator[subprocess.Popen[bytes]]:
    """moto's threaded S3 server in a process of its own; it is this process's store until the end."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(port)
            use(f"http://127.0.0.1:{port}")
            for bucket in ("photos", "results"):
                url = f"http://127.0.0.1:{port}/{bucket}"
                urllib.request.urlopen(urllib.request.Request(url, method="PUT")).read()
            yield process
        finally:
            process.kill()


def wait_for(port: int, tries: int = 1000) -> None:
    """Wait until somebody listens at a port of loopback."""
    for _ in range(tries):
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.25)
    raise TimeoutError(f"port {port}: nobody listens")


def upload(folder: Path) -> None:
    """Put every picture of a folder into `s3://photos`, and check that a second put is refused."""
    store = ObjectStore("s3://photos")
    files = sorted(folder.iterdir())
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda path: store.create(path.name, path.read_bytes()), files))
    assert not store.create(files[0].name, b"another"), "this store does not honor create-only puts"
    assert store.read(files[0].name) == files[0].read_bytes()


class Flaky(ThreadingHTTPServer):
    """Hands requests on to a store. One in ten is refused, answered by 503, never answered, or its answer is cut.

    Args:
        upstream: `host:port` of the store.
        share: of requests that fail.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, upstream: str, share: float = 0.1) -> None:
        super().__init__(("127.0.0.1", 0), FlakyHandler)
        self.upstream, self.share = upstream, share
        self.counts: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self._rng, self._lock = random.Random(0), threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def next_fault(self, kind: str) -> str | None:
        """The fault of a request of this kind, or none."""
        with self._lock:
            self.requests[kind] += 1
            fault = self._rng.choice(FAULTS) if self._rng.random() < self.share else None
            self.counts[fault or "handed on"] += 1
            return fault

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that gave up is no news."""


class FlakyHandler(BaseHTTPRequestHandler):
    """One connection to the flaky store."""

    protocol_version = "HTTP/1.1"
    server: Flaky

    def _do(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.server.next_fault("LIST" if "list-type=2" in self.path else self.command)
        if fault == "refused":
            self._reset()
            return
        if fault == "503":
            text = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
            self._answer(503, [("Content-Type", "application/xml")], text, len(text))
            return
        if fault == "timed out":
            time.sleep(HANG)
            self._reset()
            return
        upstream = http.client.HTTPConnection(self.server.upstream, timeout=60)
        # The signature covers the name of the host that was asked; moto does not look at it.
        upstream.request(self.command, self.path, body, dict(self.headers.items()))
        answer = upstream.getresponse()
        data = answer.read()
        upstream.close()
        if fault == "cut" and not data:
            self._reset()  # what was asked for is done, and nobody is told
            return
        keep = [(n, v) for n, v in answer.getheaders() if n.lower() not in ("transfer-encoding", "connection")]
        keep = [(n, v) for n, v in keep if n.lower() != "content-length" or self.command == "HEAD"]
        self._answer(answer.status, keep, data[: len(data) // 2] if fault == "cut" else data, len(data))
        if fault == "cut":
            self.wfile.flush()
            self._reset()

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _do

    def _answer(self, status: int, headers: list[tuple[str, str]], data: bytes, length: int) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(data)

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


class LongListing(BaseHTTPRequestHandler):
    """A bucket with `keys`, which can be listed and nothing else: moto takes minutes to list a million."""

    protocol_version = "HTTP/1.1"
    keys: list[str]

    def do_GET(self) -> None:
        """ListObjectsV2."""
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
        after = query.get("continuation-token") or query.get("start-after", "")
        start = bisect_right(self.keys, after)
        page = self.keys[start : start + 1000]
        more = start + 1000 < len(self.keys)
        body = "".join(
            f"<Contents><Key>{key}</Key><LastModified>2025-06-01T00:00:00.000Z</LastModified><ETag>&quot;0&quot;</ETag>"
            f"<Size>250000</Size><StorageClass>STANDARD</StorageClass></Contents>"
            for key in page
        )
        token = f"<NextContinuationToken>{page[-1]}</NextContinuationToken>" if more else ""
        text = (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>long</Name><Prefix></Prefix><KeyCount>{len(page)}</KeyCount><MaxKeys>1000</MaxKeys>"
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{body}</ListBucketResult>"
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def serve_listing(port: int, count: int) -> None:
    """Serve a bucket of so many keys; does not return."""
    LongListing.keys = [f"2025/{number // 1000:04}/IMG_{number:08}.jpg" for number in range(count)]
    ThreadingHTTPServer(("127.0.0.1", port), LongListing).serve_forever()


if __name__ == "__main__":
    serve_listing(int(sys.argv[1]), int(sys.argv[2]))
