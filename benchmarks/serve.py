"""The server under load: throughput against the library, tail latency, swaps, overload, memory. Linux.

python benchmarks/serve.py                          every row but the million: about 8 minutes
python benchmarks/serve.py --only latency           one row: at most 3 minutes
python benchmarks/serve.py --only million           10 minutes of it; the same command goes on

The load comes from one thread in a process of its own, on the same cores as the server: read ratios, not times.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import http_load
import numpy as np
from http_load import Load
from PIL import Image

from mien.model.bundle import load_bundle, write_bundle
from mien.pipeline import Recognizer
from mien.registry import Reference, open_registry

WORKERS = 2
CONNECTIONS = 4 * WORKERS
ROUNDS = 3
TURN_S = 2.0
"""Library and server take turns of so long."""


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

    @property
    def processor_s(self) -> float:
        """Processor time so far, seconds."""
        spent = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(spent[11]) + int(spent[12])) / os.sysconf("SC_CLK_TCK")

    def connection(self) -> http.client.HTTPConnection:
        """A connection that is kept."""
        return http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)


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


def load(server: Server, body: bytes, seconds: float, **how: Any) -> Load:
    """See `http_load.load`."""
    return http_load.load(server.url, body, seconds, **how)


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
            results.append(load(server, photo, 1.0, connections=2))

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
        time.sleep(0.3)
        memory.append(server.megabytes)
    stopped.set()
    thread.join()
    total = sum((result.statuses for result in results), Counter[int]())
    server.process.terminate()
    every = ", ".join(f"{megabytes:.0f}" for megabytes in memory[::5])
    print(f"{count} swaps under load: statuses {dict(total)}; MB at each fifth: {every}")


def pictures() -> tuple[bytes, bytes]:
    """A JPEG of 640 x 480 with one face, and one of 128 x 128."""
    sample = Image.open(str(resources.files("mien") / "samples/astronaut.jpg")).convert("RGB")
    photo, small = io.BytesIO(), io.BytesIO()
    sample.resize((640, 480)).save(photo, "JPEG", quality=90)
    sample.resize((128, 128)).save(small, "JPEG", quality=90)
    return photo.getvalue(), small.getvalue()


def capacity(server: Server, body: bytes, seconds: float) -> float:
    """Pictures a second that the server reads when asked without a pause."""
    served = load(server, body, seconds, connections=CONNECTIONS)
    return served.statuses[200] / served.spent_s


def ready(asked: argparse.Namespace) -> None:
    """Seconds from the start of the process until it takes requests."""
    times: list[float] = []
    for _ in range(5):
        server = start("default")
        times.append(server.ready_s)
        server.process.terminate()
        server.process.wait()
    print(f"ready after start: {', '.join(f'{each:.2f}' for each in times)} s; least {min(times):.2f} s")


def throughput(asked: argparse.Namespace) -> None:
    """HTTP against the library, in short turns. Where others compute too, the processor times can be compared."""
    body, _ = pictures()
    server = start("default")
    load(server, body, 1, connections=CONNECTIONS)
    ratios: list[float] = []
    library_s = server_s = client_s = 0.0
    library_count = server_count = 0
    for _ in range(max(round(ROUNDS * asked.seconds / TURN_S), ROUNDS)):
        before = time.process_time()
        alone = library(body, TURN_S)
        library_s += time.process_time() - before
        library_count += round(alone * TURN_S)
        before = server.processor_s
        served = load(server, body, TURN_S, connections=CONNECTIONS)
        server_s += server.processor_s - before
        server_count += served.statuses[200]
        client_s += served.client_s
        rate = served.statuses[200] / served.spent_s
        ratios.append(rate / alone)
        print(f"library {alone:6.1f} pictures/s, over HTTP {rate:6.1f} ({rate / alone:4.0%})")
    library_ms, server_ms = 1000 * library_s / library_count, 1000 * server_s / server_count
    print(
        f"median ratio {float(np.median(ratios)):.0%}; processor time a picture: library {library_ms:.1f} ms, "
        f"server {server_ms:.1f} ms ({library_ms / server_ms:.0%}), client {1000 * client_s / server_count:.2f} ms"
    )
    server.process.terminate()


def latency(asked: argparse.Namespace) -> None:
    """One face at four fifths of the capacity."""
    body, _ = pictures()
    server = start("default")
    for _ in range(ROUNDS):
        rate = statistics.median(capacity(server, body, asked.seconds / 2) for _ in range(3))
        before = wait_share(server)
        calm = load(server, body, asked.seconds, connections=16, rate=0.8 * rate)
        after = wait_share(server)
        waited = (after[0] - before[0]) / (after[1] - before[1])
        print(
            f"80 % of {rate:.1f} pictures/s: p50 {calm.p(50):.0f} ms, p99 {calm.p(99):.0f} ms, queue's share "
            f"{waited:.0%}, {dict(calm.statuses)}"
        )
    server.process.terminate()


def overload(asked: argparse.Namespace) -> None:
    """Three times the capacity, and afterwards. A short queue keeps the tail short: what would wait is turned away."""
    body, _ = pictures()
    server = start("default", "--queue", "2")
    rate = capacity(server, body, asked.seconds / 2)
    calm = load(server, body, asked.seconds, connections=16, rate=0.8 * rate)
    flood = load(server, body, 2 * asked.seconds, connections=64, rate=3 * rate)
    again = load(server, body, asked.seconds, connections=16, rate=0.8 * rate)
    print(f"before, 80 %: p99 {calm.p(99):.0f} ms, {dict(calm.statuses)}")
    print(
        f"3 x {rate:.1f} pictures/s: accepted p99 {flood.p(99):.0f} ms; 429 p50 {flood.p(50, 429):.0f} ms, p99 "
        f"{flood.p(99, 429):.0f} ms, {dict(flood.statuses)}"
    )
    print(f"afterwards, 80 %: p99 {again.p(99):.0f} ms, {dict(again.statuses)}")
    server.process.terminate()


def swap(asked: argparse.Namespace) -> None:
    """Versions change under load."""
    with tempfile.TemporaryDirectory() as folder:
        swaps(Path(folder), pictures()[0], asked.swaps)


def silent(asked: argparse.Namespace) -> None:
    """Many connections that say nothing, while one client reads."""
    http_load.raise_file_limit()
    body, _ = pictures()
    server = start("default")
    before, address = server.megabytes, urlsplit(server.url)
    held = [socket.create_connection((address.hostname, address.port), 10) for _ in range(asked.connections)]
    seen = load(server, body, asked.seconds, connections=1)
    print(
        f"{len(held):,} silent connections: {dict(seen.statuses)}, p99 {seen.p(99):.0f} ms; "
        f"{before:.0f} MB before, {server.megabytes:.0f} MB with them"
    )
    for connection in held:
        connection.close()
    server.process.terminate()


def million(asked: argparse.Namespace) -> None:
    """Small pictures until there were enough; what was done before stands in `--state`, and is not done again."""
    _, small = pictures()
    done: dict[str, Any] = {"requests": 0, "statuses": {}, "megabytes": []}
    if asked.state.exists():
        done = json.loads(asked.state.read_text())
    server = start("default")
    statuses = Counter({int(status): count for status, count in done["statuses"].items()})
    end = time.perf_counter() + asked.minutes * 60
    while done["requests"] < asked.requests and time.perf_counter() < end:
        part = load(server, small, 1e9, connections=CONNECTIONS, most=min(2000, asked.requests - done["requests"]))
        statuses += part.statuses
        done = {
            "requests": sum(statuses.values()),
            "statuses": dict(statuses),
            "megabytes": [*done["megabytes"], round(server.megabytes)],
        }
        asked.state.write_text(json.dumps(done))
    server.process.terminate()
    every = max(len(done["megabytes"]) // 10, 1)
    print(f"{done['requests']:,} of {asked.requests:,} requests: {dict(statuses)}; MB {done['megabytes'][::every]}")


ROWS: dict[str, Callable[[argparse.Namespace], None]] = {
    "ready": ready,
    "throughput": throughput,
    "latency": latency,
    "overload": overload,
    "swaps": swap,
    "silent": silent,
    "million": million,
}


def main() -> None:
    """Print the figures that are asked for; all but the million unless told."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=ROWS, help="a row of the table; may be given again")
    parser.add_argument("--seconds", type=float, default=8, help="of each load")
    parser.add_argument("--swaps", type=int, default=200)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=float, default=10, help="of one piece of the million")
    parser.add_argument("--state", type=Path, default=Path("million.json"), help="where the million goes on")
    asked = parser.parse_args()
    for name in asked.only or [name for name in ROWS if name != "million"]:
        ROWS[name](asked)


if __name__ == "__main__":
    main()
