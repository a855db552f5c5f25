"""Runs in shards: speed, kills, planning a million keys, memory, and a store that fails. Linux.

python benchmarks/distributed.py [--only speed,kills,plan,store,memory,cost] [--photos 5000]

The pictures are those of `volume.py`; they lie on moto's S3 server, on loopback, which also takes the rows. Rows are
compared with those of `mien predict` on the same pictures in a folder. `--only speed --photos 1000` takes some minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import Any

import object_stores
import pyarrow as pa
import pyarrow.parquet as parquet
from volume import compose

from mien.batch import Job
from mien.detect import default_detector_name
from mien.distributed import FinishedShard, LocalEngine, RayEngine, WorkerRun, make_plan, read_shards, try_read_shard
from mien.distributed import object_store as client
from mien.distributed.stores import open_store
from mien.distributed.work import recognizer_for

ROWS = ("speed", "kills", "plan", "store", "memory", "cost")
JOB = Job("default", default_detector_name())
if timeout := os.environ.get("BENCHMARK_REQUEST_TIMEOUT"):  # in workers, too: they import this file
    client.REQUEST_TIMEOUT = timeout


class Timed:
    """An engine, and when its first shard began and its last one ended: without the engine's own start."""

    def __init__(self, engine: LocalEngine | RayEngine) -> None:
        self._engine = engine
        self.began, self.ended = float("inf"), 0.0

    def map(self, work: WorkerRun, shards: Iterable[int]) -> Iterator[FinishedShard]:
        """See `mien.distributed.Engine`."""
        for done in self._engine.map(work, shards):
            self.ended = time.monotonic()
            self.began = min(self.began, self.ended - done.seconds)
            yield done


def drive(source: str, out: str, engine: str, workers: int, shard: int) -> None:
    """A driver: one run in this process; prints what it did."""
    timed = Timed(RayEngine(workers=workers) if engine == "ray" else LocalEngine(workers))
    totals = read_shards(source, out, JOB, engine=timed, shard_keys=shard)
    spent = timed.ended - timed.began
    print(json.dumps({"pictures": totals.pictures, "failed": totals.failed, "seconds": spent}))


def driver(out: str, engine: str, workers: int, shard: int) -> subprocess.Popen[str]:
    """Start a driver in a process of its own."""
    command = [sys.executable, __file__, "drive", "s3://photos", out, engine, str(workers), str(shard)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What a driver printed, when it is done."""
    text, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"a driver ended with {process.returncode}")
    return json.loads(text.splitlines()[-1])


# --- processes --------------------------------------------------------------------------------------------------------


def descendants(pid: int) -> dict[int, str]:
    """Processes that a process has started, and those that these have: their numbers and command lines."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        if stat := told_of(int(folder.name), "stat"):
            parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])
    found, below = {}, {pid}
    while below:
        below = {child for child, parent in parents.items() if parent in below}
        found.update({child: told_of(child, "cmdline").replace("\0", " ") for child in below})
    return found


def told_of(pid: int, what: str) -> str:
    """A file of `/proc` about a process; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def workers_of(pid: int) -> list[int]:
    """The processes of a driver that score shards."""
    return [n for n, line in descendants(pid).items() if line.startswith("ray::_read") or "spawn_main" in line]


def megabytes(pid: int) -> float:
    """What a process holds; its part of what it shares with others, such as libraries."""
    lines = told_of(pid, "smaps_rollup").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1e3


# --- rows -------------------------------------------------------------------------------------------------------------


def rows_of(out: str) -> pa.Table:
    """All rows of a run, sorted."""
    store = open_store(out)
    files = sorted(store.names("rows"))
    return ordered(pa.concat_tables(parquet.read_table(BytesIO(store.read(f"rows/{name}"))) for name in files))


def ordered(table: pa.Table) -> pa.Table:
    """By picture and face."""
    return table.sort_by([("source", "ascending"), ("frame", "ascending"), ("face", "ascending")]).combine_chunks()


def predicted(folder: Path, work: Path) -> pa.Table:
    """The rows of `mien predict`, sorted, with the sources of the run in shards."""
    out = work / "predicted.parquet"
    subprocess.run(
        [sys.executable, "-m", "mien", "predict", str(folder), "--out", str(out), "--workers", "2", "--threads", "1"],
        check=True, capture_output=True,
    )  # fmt: skip
    table = parquet.read_table(out)
    sources = [f"s3://photos/{Path(source).name}" for source in table["source"].to_pylist()]
    index = table.schema.get_field_index("source")
    return ordered(table.set_column(index, table.schema.field(index), pa.array(sources, pa.string())))


def compare(what: str, out: str, wanted: pa.Table) -> None:
    """Say whether a run has the rows that it should."""
    found = rows_of(out)
    if not found.equals(wanted):
        raise SystemExit(f"{what}: {found.num_rows} sorted rows differ from the {wanted.num_rows} of mien predict")
    print(f"{what}: {found.num_rows} sorted rows equal those of mien predict", flush=True)


def done_shards(out: str) -> int:
    """Shards whose rows are there."""
    return sum(1 for _ in open_store(out).names("rows"))


# --- the rows of the table --------------------------------------------------------------------------------------------


def speed(photos: int, server: subprocess.Popen[bytes], **_: object) -> None:
    """Two workers against one, and Ray against processes."""
    rates: dict[str, float] = {}
    for engine, workers in (("local", 1), ("ray", 1), ("ray", 2)):
        before = object_stores.cpu_seconds(server.pid)
        started = time.monotonic()
        told = ended(driver(f"s3://results/{engine}{workers}", engine, workers, max(photos // 40, 1)))
        assert (told["pictures"], told["failed"]) == (photos, 0)
        name = f"{engine}, {workers}"
        rates[name] = photos / told["seconds"]
        served = (object_stores.cpu_seconds(server.pid) - before) / told["seconds"]
        print(
            f"{name}: {rates[name]:6.1f} pictures/s after start; {time.monotonic() - started:6.1f} s in all; "
            f"the S3 server took {served:.2f} of a core",
            flush=True,
        )
    print(f"ray, two workers against one: {rates['ray, 2'] / rates['ray, 1']:.2f} x (wanted: 1.9)")
    print(f"one worker, ray against local: {rates['ray, 1'] / rates['local, 1']:.2f} x (wanted: 0.9)", flush=True)


def kills(photos: int, wanted: Callable[[], pa.Table], **_: object) -> None:
    """20 workers and 10 drivers are killed, at moments all over the run."""
    rng = random.Random(0)
    shards = 60
    shard = max(photos // shards, 1)
    out = "s3://results/killed-workers"
    process = driver(out, "ray", 2, shard)
    killed = 0
    while process.poll() is None and killed < 20:
        if done_shards(out) > killed * shards // 24:
            time.sleep(rng.uniform(0, 1))
            if victims := workers_of(process.pid):
                os.kill(rng.choice(victims), signal.SIGKILL)
                killed += 1
        time.sleep(0.05)
    ended(process)
    compare(f"kill -9 of a worker of Ray at {killed} moments", out, wanted())
    out, killed, ahead = "s3://results/killed-drivers", 0, 0
    while killed < 10:
        process = driver(out, "ray" if killed % 2 else "local", 2, shard)
        while process.poll() is None and done_shards(out) <= ahead:
            time.sleep(0.05)
        time.sleep(rng.uniform(0, 1))
        if process.poll() is not None:
            break
        process.kill()
        process.wait()
        killed, ahead = killed + 1, done_shards(out) + shards // 20
    print(f"{done_shards(out)} of {shards} shards after {killed} kills", flush=True)
    ended(driver(out, "ray", 2, shard))
    compare(f"kill -9 of the driver at {killed} moments, then resume", out, wanted())


def store(wanted: Callable[[], pa.Table], photos: int, work: Path, **_: object) -> None:
    """One request in ten fails, in each of four ways; with short time limits, so that it takes minutes."""
    upstream = os.environ["AWS_ENDPOINT"]
    flaky = object_stores.Flaky(upstream.removeprefix("http://"))
    object_stores.use(f"http://127.0.0.1:{flaky.server_address[1]}")
    os.environ["BENCHMARK_REQUEST_TIMEOUT"] = f"{object_stores.HANG / 2}s"
    started = time.monotonic()
    told = ended(driver("s3://results/flaky", "local", 2, max(photos // 40, 1)))
    object_stores.use(upstream)
    del os.environ["BENCHMARK_REQUEST_TIMEOUT"]
    print(f"a store that fails: {dict(flaky.counts)}; {time.monotonic() - started:.0f} s, {told}")
    flaky.shutdown()
    compare("a store that fails for one request in ten", "s3://results/flaky", wanted())


def plan(keys: int = 1_000_000, **_: object) -> None:
    """Plan a million keys: of a bucket's listing, and of a table."""
    port = object_stores.free_port()
    with subprocess.Popen([sys.executable, object_stores.__file__, str(port), str(keys)]) as server:
        try:
            environment = {**os.environ, "AWS_ENDPOINT": f"http://127.0.0.1:{port}"}
            object_stores.wait_for(port)
            with tempfile.TemporaryDirectory() as work:
                table = pa.table({"key": [f"s3://long/2025/IMG_{number:08}.jpg" for number in range(keys)]})
                parquet.write_table(table, f"{work}/keys.parquet")
                for source in ("s3://long", f"{work}/keys.parquet"):
                    command = [sys.executable, __file__, "plan", source, f"{work}/{Path(source).stem}-out"]
                    subprocess.run(command, env=environment, check=True)
        finally:
            server.kill()


def plan_once(source: str, out: str) -> None:
    """Plan in this process; print time and memory."""
    started, used = time.monotonic(), time.process_time()
    made = make_plan(source, out, JOB)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(
        f"planning {made.keys:,} keys of {'a table' if source.endswith('.parquet') else 'a bucket'}: "
        f"{time.monotonic() - started:.1f} s, {time.process_time() - used:.1f} s of CPU, {peak:.0f} MB at most",
        flush=True,
    )


def memory(photos: int, **_: object) -> None:
    """What the driver and its largest worker hold, in each fifth of a run."""
    process = driver("s3://results/memory", "ray", 2, max(photos // 40, 1))
    samples: list[tuple[float, float]] = []
    while process.poll() is None:
        if workers := workers_of(process.pid):
            samples.append((megabytes(process.pid), max(megabytes(worker) for worker in workers)))
        time.sleep(0.5)
    ended(process)
    for number in range(5):
        part = samples[len(samples) * number // 5 : len(samples) * (number + 1) // 5]
        held, worker = (statistics.median(each) for each in zip(*part, strict=True))
        print(f"fifth {number + 1}: driver {held:5.0f} MB, worker {worker:5.0f} MB", flush=True)


def cost(photos: int, **_: object) -> None:
    """CPU seconds and memory of one worker, bytes of rows, and requests: what docs/how-to/large.md reckons with."""
    upstream = os.environ["AWS_ENDPOINT"]
    counting = object_stores.Flaky(upstream.removeprefix("http://"), share=0)
    object_stores.use(f"http://127.0.0.1:{counting.server_address[1]}")
    subprocess.run([sys.executable, __file__, "cost", "s3://photos", "s3://results/cost"], check=True)
    object_stores.use(upstream)
    print(f"requests for {photos} pictures in one shard: {dict(counting.requests)}", flush=True)
    counting.shutdown()


class Here:
    """An engine that scores in this process."""

    def map(self, work: WorkerRun, shards: Iterable[int]) -> Iterator[FinishedShard]:
        """See `mien.distributed.Engine`."""
        for shard in shards:
            yield try_read_shard(work, shard)


def cost_once(source: str, out: str) -> None:
    """Score in this process, one thread; print what it took."""
    recognizer_for(JOB).read(Path(str(resources.files("mien") / "samples/group.jpg")))  # loading does not count
    used = time.process_time()
    totals = read_shards(source, out, JOB, engine=Here())
    used = time.process_time() - used
    store = open_store(out)
    size = sum(len(store.read(f"rows/{name}")) for name in store.names("rows"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(
        f"{1000 * used / totals.pictures:.1f} ms of CPU a picture: {totals.pictures / used:.1f} pictures/s a core; "
        f"{totals.faces / totals.pictures:.2f} faces and {totals.bytes_read / totals.pictures / 1e3:.1f} KB a picture; "
        f"{size / totals.rows:.0f} bytes a row; {peak:.0f} MB at most",
        flush=True,
    )


# ----------------------------------------------------------------------------------------------------------------------


@contextmanager
def pictures(count: int) -> Iterator[dict[str, Any]]:
    """Pictures in a folder and on the S3 server, and the rows of `mien predict`, made when they are first asked for."""
    with tempfile.TemporaryDirectory() as work, object_stores.moto() as server:
        folder = Path(work, "photos")
        folder.mkdir()
        compose(folder, count)
        object_stores.upload(folder)
        rows: list[pa.Table] = []
        lock = threading.Lock()

        def wanted() -> pa.Table:
            with lock:
                if not rows:
                    rows.append(predicted(folder, Path(work)))
                return rows[0]

        yield {"photos": count, "server": server, "wanted": wanted, "work": Path(work)}


def main() -> None:
    """Print the rows that are asked for."""
    if sys.argv[1:2] == ["drive"]:
        source, out, engine, workers, shard = sys.argv[2:]
        drive(source, out, engine, int(workers), int(shard))
        return
    if sys.argv[1:2] == ["plan"]:
        plan_once(*sys.argv[2:])
        return
    if sys.argv[1:2] == ["cost"]:
        cost_once(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(ROWS), help="rows, with commas between: " + ", ".join(ROWS))
    parser.add_argument("--photos", type=int, default=5000)
    args = parser.parse_args()
    chosen = args.only.split(",")
    if unknown := set(chosen) - set(ROWS):
        parser.error(f"--only: expected {', '.join(ROWS)}, found {', '.join(sorted(unknown))}")
    if "plan" in chosen:
        object_stores.use("http://127.0.0.1:9")
        plan()
    if others := [each for each in ("speed", "kills", "store", "memory", "cost") if each in chosen]:
        with pictures(args.photos) as given:
            for name in others:
                globals()[name](**given)


if __name__ == "__main__":
    main()
