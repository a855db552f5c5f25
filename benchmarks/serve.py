"""The server under load: throughput against the library, tail latency, swaps, overload, memory. Linux.

python benchmarks/serve.py [--seconds 10] [--swaps 20] [--requests 5000]

The load comes from this process, on the same cores as the server: read ratios, not times.
"""

from __future__ import annotations

import argparse
import http.client
import io
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from mien.model.bundle import load_bundle, write_bundle
from mien.pipeline import Recognizer
from mien.registry import Reference, open_registry

WORKERS = 2
ROUNDS = 3


@dataclass
class Server:
    """A `mien serve` in a process of its own."""

    process: subprocess.Popen[str]
    url: str
    ready_s: float

    @property
    def megabytes(self) -> float:
        """Resident memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024

    def connection(self) -> http.client.HTTPConnection:
        """A connection that is kept."""
        return http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)


@dataclass
class Load:
    """What a load saw: statuses, and seconds until an answer by status."""

    statuses: Counter[int] = field(default_factory=Counter[int])
    seconds: dict[int, list[float]] = field(default_factory=dict[int, list[float]])
    spent_s: float = 0.0

    def p(self, percent: float, status: int = 200) -> float:
        """Percentile of the milliseconds until an answer with this status."""
        return 1000 * float(np.percentile(self.seconds.get(status, [float("nan")]), percent))


def start(model: str, *options: str, environment: dict[str, str] | None = None) -> Server:
    """Start a server and wait until it takes requests."""
    command = [
        sys.executable,
        "-m",
        "mien",
        "serve",
        "--model",
        model,
        "--port",
        "0",
        "--workers",
        str(WORKERS),
        *options,
    ]
    started = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})})
    assert process.stderr
    line = process.stderr.readline()
    ready_s = time.perf_counter() - started
    threading.Thread(target=process.stderr.read, daemon=True).start()
    return Server(process, re.findall(r"http://\S+", line)[0], ready_s)


def ask(connection: http.client.HTTPConnection, body: bytes) -> int:
    """One request; its status, 0 for none."""
    try:
        connection.request("POST", "/v1/read", body, {"Content-Type": "image/jpeg"})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except (OSError, http.client.HTTPException):
        connection.close()
        return 0


def load(server: Server, body: bytes, seconds: float, *, threads: int, rate: float = 0.0, most: int = 0) -> Load:
    """Ask from several threads: as fast as answers come, or at a fixed rate whatever comes; for a time or a number."""
    seen, lock, counter = Load(), threading.Lock(), iter(range(most or 10**9))
    begun = time.perf_counter()

    def work() -> None:
        connection = server.connection()
        while True:
            with lock:
                number = next(counter, None)
            due = begun + number / rate if number is not None and rate else time.perf_counter()
            if number is None or due > begun + seconds:
                return
            time.sleep(max(due - time.perf_counter(), 0))
            # From when the request was due, so that a slow server is not spared by a load that waits for it.
            status = ask(connection, body)
            spent = time.perf_counter() - due
            with lock:
                seen.statuses[status] += 1
                seen.seconds.setdefault(status, []).append(spent)

    pool = [threading.Thread(target=work) for _ in range(threads)]
    for thread in pool:
        thread.start()
    for thread in pool:
        thread.join()
    seen.spent_s = time.perf_counter() - begun
    return seen


def library(body: bytes, seconds: float) -> float:
    """Pictures a second of the library in a loop on as many threads."""
    counts = [0] * WORKERS
    recognizers = [Recognizer(threads=1) for _ in counts]
    end = time.perf_counter() + seconds

    def work(index: int) -> None:
        while time.perf_counter() < end:
            recognizers[index].read(body)
            counts[index] += 1

    pool = [threading.Thread(target=work, args=(index,)) for index in range(WORKERS)]
    for thread in pool:
        thread.start()
    for thread in pool:
        thread.join()
    return sum(counts) / seconds


def wait_share(server: Server) -> tuple[float, float]:
    """Seconds that pictures waited, and seconds of all their stages, so far."""
    connection = server.connection()
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    sums = dict(re.findall(r'mien_stage_duration_seconds_sum\{stage="(\w+)"\} (\S+)', text))
    return float(sums.get("wait", 0)), sum(map(float, sums.values()))


def swaps(folder: Path, photo: bytes, count: int) -> None:
    """Promotions, rollbacks and refused versions while requests run."""
    environment = {"MIEN_REGISTRY": str(folder / "registry")}
    registry = open_registry(environment["MIEN_REGISTRY"])
    bundle = load_bundle()
    assert bundle.golden
    for number in range(1, 4):
        manifest = bundle.manifest.model_copy(update={"created": str(number)})
        copy = write_bundle(folder / f"{number}.onnx", bundle.model, manifest, bundle.golden)
        registry.add(copy, "faces")
    versions = [registry.version(Reference("faces", number, None)) for number in (1, 2, 3)]
    registry.promote(versions[0], expected=None)
    path = registry.path(versions[2])
    path.write_bytes(path.read_bytes()[:-1] + b"\0")  # version 3 is damaged
    server = start("faces@production", "--poll", "0.1", environment=environment)
    results: list[Load] = []
    stopped = threading.Event()

    def until_stopped() -> None:
        while not stopped.is_set():
            results.append(load(server, photo, 1.0, threads=2))

    thread = threading.Thread(target=until_stopped)
    thread.start()
    memory = [server.megabytes]
    for number in range(count):
        step = number % 4
        if step == 0:
            registry.promote(versions[1], expected=1)
        elif step == 1:
            registry.promote(versions[2], expected=2)
        else:
            registry.rollback("faces")
        time.sleep(0.6)
        memory.append(server.megabytes)
    stopped.set()
    thread.join()
    total = sum((result.statuses for result in results), Counter[int]())
    server.process.terminate()
    every = ", ".join(f"{megabytes:.0f}" for megabytes in memory[::5])
    print(f"{count} swaps under load: statuses {dict(total)}; MB at each fifth: {every}")


def main() -> None:
    """Print every figure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--swaps", type=int, default=20)
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--swaps-only", action="store_true")
    asked = parser.parse_args()
    sample = Image.open(str(resources.files("mien") / "samples/astronaut.jpg")).convert("RGB")
    photo, small = io.BytesIO(), io.BytesIO()
    sample.resize((640, 480)).save(photo, "JPEG", quality=90)
    sample.resize((128, 128)).save(small, "JPEG", quality=90)
    body = photo.getvalue()

    if not asked.swaps_only:
        traffic(body, small.getvalue(), asked.seconds, asked.requests)
    with tempfile.TemporaryDirectory() as folder:
        swaps(Path(folder), body, asked.swaps)


def traffic(body: bytes, small: bytes, seconds: float, requests: int) -> None:
    """Throughput, tail latency, overload, and memory over many requests."""
    server = start("default")
    print(f"ready {server.ready_s:.2f} s after start; {server.megabytes:.0f} MB")
    ratios: list[float] = []
    rate = 0.0
    for _ in range(ROUNDS):
        alone = library(body, seconds / 2)
        served = load(server, body, seconds / 2, threads=2 * WORKERS)
        rate = served.statuses[200] / served.spent_s
        ratios.append(rate / alone)
        print(f"library {alone:6.1f} pictures/s, over HTTP {rate:6.1f} ({rate / alone:4.0%})")
    before = wait_share(server)
    calm = load(server, body, seconds, threads=32, rate=0.8 * rate)
    after = wait_share(server)
    waited = (after[0] - before[0]) / (after[1] - before[1])
    print(
        f"80 % of capacity: p50 {calm.p(50):.0f} ms, p99 {calm.p(99):.0f} ms, queue's share {waited:.0%}, "
        f"{dict(calm.statuses)}"
    )
    server.process.terminate()
    # A short queue keeps the tail short: what waits longer is turned away.
    server = start("default", "--queue", "2")
    flood = load(server, body, seconds, threads=64, rate=3 * rate)
    print(
        f"3 x capacity: accepted p99 {flood.p(99):.0f} ms; 429 p50 "
        f"{flood.p(50, 429):.0f} ms, p99 {flood.p(99, 429):.0f} ms, "
        f"{dict(flood.statuses)}"
    )
    again = load(server, body, seconds / 2, threads=32, rate=0.8 * rate)
    print(f"afterwards, 80 %: p99 {again.p(99):.0f} ms, {dict(again.statuses)}")
    memory = [server.megabytes]
    statuses: Counter[int] = Counter()
    for _ in range(5):
        part = load(server, small, 1e9, threads=2 * WORKERS, most=requests // 5)
        statuses += part.statuses
        memory.append(server.megabytes)
    print(f"small pictures: {dict(statuses)}; MB after each fifth: {', '.join(f'{m:.0f}' for m in memory)}")
    server.process.terminate()


if __name__ == "__main__":
    main()
