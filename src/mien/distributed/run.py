"""A whole run: plan, score what is missing, finish. Called again, it goes on with what is there."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from mien._version import __version__
from mien.batch import Job
from mien.distributed.engine import Engine, FinishedShard
from mien.distributed.local import LocalEngine
from mien.distributed.plan import SHARD_KEYS, Plan, make_plan
from mien.distributed.shard import ROWS, done_of, rows_name
from mien.distributed.stores import Store, open_store
from mien.errors import OutputError, StoreError, note_kept
from mien.progress import SILENT, Progress

SUCCESS = "_SUCCESS.json"
"""Written last; while it is not there, the run is not complete."""

ROUNDS = 3
"""Times that shards which could not be scored are tried."""

READERS = 8


@dataclass(slots=True)
class Totals:
    """What a run has done.

    Attributes:
        shards: finished ones.
        pictures, faces, failed, rows: in them; see `FinishedShard`.
        seconds: that workers spent, added up; of this call.
        bytes_read: of pictures, from object stores; of this call.
        resumed: shards that were finished before this call.
    """

    shards: int = 0
    pictures: int = 0
    faces: int = 0
    failed: int = 0
    rows: int = 0
    seconds: float = 0.0
    bytes_read: int = 0
    resumed: int = 0

    def add(self, done: FinishedShard) -> None:
        """Count a finished shard."""
        self.shards += 1
        self.pictures += done.pictures
        self.faces += done.faces
        self.failed += done.failed
        self.rows += done.rows
        self.seconds += done.seconds
        self.bytes_read += done.bytes_read


def read_shards(
    source: str,
    out: str,
    job: Job,
    *,
    engine: Engine | None = None,
    column: str | None = None,
    shard_keys: int = SHARD_KEYS,
    progress: Progress = SILENT,
    tell: Callable[[str], None] = lambda line: None,
) -> Totals:
    """Read every picture behind a source, and write its rows to `out/rows/`, a Parquet file a shard.

    Given again, it goes on where it stopped: a shard whose file is there is not scored again.

    Args:
        source: a folder, an object store's address, or a table of keys; see `mien.distributed.sources.list_source`.
        out: a folder or an object store's address.
        job: how to read pictures; each worker uses one thread, whatever it says.
        engine: what schedules the shards; None: processes of this machine, one a core.
        column: of the keys, if the source is a table.
        shard_keys: pictures in a shard.
        progress: told how many pictures are planned, and read.
        tell: takes a line about a shard that could not be scored.

    Raises:
        OutputError: `out` holds another run.
        StoreError: some shards could not be scored, or workers cannot be had; what is finished stays.
        MienError: the source or the model cannot be used.
    """
    plan = make_plan(source, out, job, column=column, shard_keys=shard_keys, progress=progress)
    store = open_store(plan.work.out)
    totals, hashes = Totals(), dict[int, FinishedShard]()
    for done in _finished(store, plan):
        totals.add(done)
        hashes[done.shard] = done
    totals.resumed = totals.shards
    speed = _Speed(plan, totals, progress)
    speed.tell()
    problems: dict[int, str] = {}
    for _ in range(ROUNDS):
        problems.clear()
        missing = (number for number in range(plan.shards) if number not in hashes)
        try:
            for done in (engine or LocalEngine()).map(plan.work, missing):
                if done.error is not None:
                    problems[done.shard] = done.error
                    tell(f"shard {done.shard}: {done.error}")
                    continue
                totals.add(done)
                hashes[done.shard] = done
                speed.tell()
        except KeyboardInterrupt as error:
            note_kept(error, f"{len(hashes)} of {plan.shards} shards are kept in {out}; the same command goes on")
            raise
        if not problems:
            break
    if problems:
        first = min(problems)
        raise StoreError(
            f"{len(problems)} of {plan.shards} shards could not be scored (shard {first}: {problems[first]}); "
            "what is finished is kept, and the same command goes on"
        )
    _finish(store, plan, totals, hashes)
    return totals


class _Speed:
    """Tells a `Progress` how many pictures are read, and how fast it goes."""

    def __init__(self, plan: Plan, totals: Totals, progress: Progress) -> None:
        self._plan, self._totals, self._progress = plan, totals, progress
        self._started, self._before = time.monotonic(), totals.pictures + totals.failed

    def tell(self) -> None:
        totals = self._totals
        read = totals.pictures + totals.failed
        rate = (read - self._before) / max(time.monotonic() - self._started, 1e-3)
        note = f"shard {totals.shards}/{self._plan.shards}, {rate:.1f} pictures/s, {totals.faces} faces"
        self._progress.update("reading", min(read, self._plan.keys), self._plan.keys, note)


def _finished(store: Store, plan: Plan) -> Iterator[FinishedShard]:
    """The shards whose files are there, each file looked into."""
    names = (name.removesuffix(".parquet") for name in store.names(ROWS) if name.endswith(".parquet"))
    numbers = sorted(int(name) for name in names if name.isdigit() and int(name) < plan.shards)

    def look(number: int) -> FinishedShard:
        try:
            return done_of(number, store.read(rows_name(number)))
        except (ValueError, FileNotFoundError, KeyError) as error:
            raise OutputError(
                f"{store.address}/{rows_name(number)}: not the rows of a shard ({error}); remove this file, and give "
                "the same command again"
            ) from error

    with ThreadPoolExecutor(READERS) as pool:
        yield from pool.map(look, numbers)


def _finish(store: Store, plan: Plan, totals: Totals, shards: dict[int, FinishedShard]) -> None:
    lines = "".join(f"{shards[number].sha256}\n" for number in range(plan.shards))
    about = {
        "mien": __version__,
        "plan": plan.work.plan,
        "keys": plan.keys,
        "keys_sha256": plan.record["keys_sha256"],
        "shards": totals.shards,
        "pictures": totals.pictures,
        "faces": totals.faces,
        "failed": totals.failed,
        "rows": totals.rows,
        "rows_sha256": hashlib.sha256(lines.encode()).hexdigest(),
        "model_sha256": plan.work.model.sha256,
        "files": {rows_name(n): {"rows": shards[n].rows, "sha256": shards[n].sha256} for n in range(plan.shards)},
    }
    store.create(SUCCESS, json.dumps(about, indent=1).encode())
