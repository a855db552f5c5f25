"""A run's plan: shards of keys, and what makes the run one. Made once; every worker reads its own shard of it.

`plan/run.json` is written last, and create-only: while it is not there, there is no plan, and of two who plan at once
one wins.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

from mien._version import __version__
from mien.batch import Job
from mien.distributed.sources import PictureKey, list_source
from mien.distributed.stores import Store, is_url, open_store
from mien.distributed.work import WorkerRun, job_record, share_files
from mien.errors import OutputError, Remedy, StoreError
from mien.output.journal import difference
from mien.output.parquet import pyarrow
from mien.output.rows import utf8
from mien.progress import SILENT, Progress

SHARD_KEYS = 2_000
"""Pictures in a shard: some minutes of one core, so that a lost worker costs little, and files do not get too many."""

RUN = "plan/run.json"
SCHEMA = 1
WRITERS = 8
"""Shards of the plan that are written at once."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A run that is planned.

    Attributes:
        work: what workers need to know.
        shards: how many there are.
        keys: how many pictures.
        record: what is written in `plan/run.json`.
    """

    work: WorkerRun
    shards: int
    keys: int
    record: dict[str, Any]


def shard_name(number: int) -> str:
    """A shard's file name, without a suffix: sorted by name they are sorted by number."""
    return f"{number:08}"


def make_plan(
    source: str,
    out: str,
    job: Job,
    *,
    column: str | None = None,
    shard_keys: int = SHARD_KEYS,
    progress: Progress = SILENT,
) -> Plan:
    """The plan in `out`; made now if there is none.

    Args:
        source: see `mien.distributed.sources.list_source`.
        out: a folder or an object store's address.
        job: how to read pictures.
        column: of the keys, if the source is a table.
        shard_keys: pictures in a shard.
        progress: told how many keys are listed.

    Raises:
        OutputError: `out` holds another run; says in what they differ. Or it holds something else.
        MienError: the source or the model cannot be used, or `out` cannot be written to.
    """
    out = out.rstrip("/") if is_url(out) else str(Path(out).absolute())  # workers may run in another folder
    store = open_store(out)
    record = _read_record(store)
    if record is None:
        _refuse_other_things(store)
    files = share_files(out, job)
    same = {"source": source, "column": column, "mien": __version__, **_model_record(job, files), **job_record(job)}
    if record is None:
        plan_id = secrets.token_hex(4)
        keys = list_source(source, column)
        number, shards, sha256 = _write_shards(store, plan_id, keys, shard_keys, progress)
        counts = {"plan": plan_id, "keys": number, "shards": shards, "keys_sha256": sha256, "shard_keys": shard_keys}
        made: dict[str, Any] = {"schema": SCHEMA, **counts, "same": same}
        # Where another has planned the same at the same time, the first one's plan counts.
        record = made if store.create(RUN, json.dumps(made, indent=1).encode()) else _read_record(store)
    assert record is not None
    _refuse_another_run(out, record, json.loads(json.dumps(same)))
    work = WorkerRun(out, str(record["plan"]), job, files[0], files[1])
    return Plan(work, int(record["shards"]), int(record["keys"]), record)


def read_shard_keys(work: WorkerRun, number: int) -> list[PictureKey]:
    """The keys of one shard.

    Raises:
        StoreError: the shard is gone, or cannot be read.
    """
    name = f"plan/{work.plan}/{shard_name(number)}.parquet"
    try:
        data = open_store(work.out).read(name)
    except FileNotFoundError:
        raise StoreError(f"{work.out}/{name}: this part of the plan is gone; plan the run again") from None
    columns = import_module("pyarrow.parquet").read_table(BytesIO(data)).to_pydict()
    rows = zip(columns["source"], columns["size"], columns["problem"], strict=True)
    return [PictureKey(source.decode("utf-8", "surrogateescape"), size, problem) for source, size, problem in rows]


def _model_record(job: Job, files: Any) -> dict[str, object]:
    model, detector_model = files
    return {
        "model_sha256": model.sha256,
        "manifest_sha256": model.sidecar_sha256,
        "detector_model_sha256": detector_model.sha256 if detector_model else None,
    }


def _read_record(store: Store) -> dict[str, Any] | None:
    try:
        record = json.loads(store.read(RUN))
        if record["schema"] != SCHEMA:
            raise ValueError(f"schema {record['schema']}, expected {SCHEMA}")
        return record
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise OutputError(
            f"{store.address}/{RUN}: not the plan of a run ({error}); choose another place", Remedy.OUT
        ) from error


def _refuse_other_things(store: Store) -> None:
    if next(store.names("rows"), None) is not None:
        raise OutputError(
            f"{store.address}: there are rows, and no plan that they belong to; choose an empty place for the results"
        )


def _refuse_another_run(out: str, record: dict[str, Any], same: dict[str, Any]) -> None:
    if changed := difference(record["same"], same):
        raise OutputError(
            f"{out}: holds another run: {changed}. Give that run's options to go on with it, or choose "
            "another place for the results"
        )


def _write_shards(
    store: Store, plan: str, keys: Iterator[PictureKey], shard_keys: int, progress: Progress
) -> tuple[int, int, str]:
    """Keys, shards, and the hash of all keys."""
    digest = hashlib.sha256()
    count = shard = 0
    under_way: list[Future[bool]] = []
    with ThreadPoolExecutor(WRITERS, thread_name_prefix="plan") as pool:
        while chunk := list(islice(keys, shard_keys)):
            # A file's name need not be UTF-8.
            sources = [key.source.encode("utf-8", "surrogateescape") for key in chunk]
            digest.update(b"\0".join(sources) + b"\0")
            name = f"plan/{plan}/{shard_name(shard)}.parquet"
            under_way.append(pool.submit(_write_shard, store, name, sources, chunk))
            if len(under_way) > 2 * WRITERS:
                under_way.pop(0).result()
            count, shard = count + len(chunk), shard + 1
            progress.update("planning", count, None, f"{shard} shards")
        for each in under_way:
            each.result()
    return count, shard, digest.hexdigest()


def _write_shard(store: Store, name: str, sources: list[bytes], keys: list[PictureKey]) -> bool:
    arrow = pyarrow()
    sizes = arrow.array([key.size for key in keys], arrow.int64())
    problems = arrow.array([key.problem and utf8(key.problem) for key in keys], arrow.string())
    out = BytesIO()
    table = arrow.table({"source": arrow.array(sources, arrow.binary()), "size": sizes, "problem": problems})
    # A dictionary of keys that are all different only takes time.
    import_module("pyarrow.parquet").write_table(table, out, compression="zstd", use_dictionary=False)
    return store.create(name, out.getvalue())
