"""One shard -> one Parquet file of rows, written once and whole. The same on every engine, and at every try.

A worker that is killed leaves nothing but a note that it began. From the third such note on, the shard is taken apart.
Its pictures are read one by one in a process of their own, and the one that kills it becomes an error row.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import import_module
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any

from mien.batch import Job
from mien.distributed.engine import FinishedShard
from mien.distributed.plan import read_shard_keys, shard_name
from mien.distributed.sources import PictureKey
from mien.distributed.stores import BadAddress, is_url, open_store, split_url, too_large
from mien.distributed.work import MAX_PICTURE_BYTES, WorkerRun, recognizer_of
from mien.errors import MediaError, MienError
from mien.media import MEDIA_SUFFIXES, Item, decode, read_item
from mien.media.formats import kind_of_file
from mien.output.parquet import arrow_rows, arrow_schema
from mien.output.rows import Row, rows_of
from mien.pipeline import Recognizer
from mien.records import Failure, Frame, FrameReadings

ROWS, ATTEMPTS = "rows", "attempts"
"""Folders of a run: finished shards; notes of those begun and not ended."""

KILLS = 3
"""How many workers may be lost with a shard before it is taken apart."""

READERS = 8
"""Objects of a shard that are fetched at once."""

AHEAD = 32
AHEAD_BYTES = 2**26
"""Objects, and bytes of them, that wait to be decoded at most, and the object that exceeds them."""

FILE_ROWS = 16_384
"""Rows in a row group."""


def rows_name(shard: int) -> str:
    """Where the rows of a shard are, below the run's folder."""
    return f"{ROWS}/{shard_name(shard)}.parquet"


def try_read_shard(work: WorkerRun, shard: int) -> FinishedShard:
    """Score a shard; where that fails for a reason that may pass, say so instead of raising."""
    try:
        return read_shard(work, shard)
    except MienError as error:
        return FinishedShard(shard, error=str(error))


def read_shard(work: WorkerRun, shard: int) -> FinishedShard:
    """Read every picture of a shard, and write its rows.

    Args:
        work: what the run is.
        shard: its number.

    Raises:
        MienError: the model cannot be had or used; the plan cannot be read, or the rows cannot be written. A picture
            that cannot be read is an error row, and no error.
    """
    started = time.perf_counter()
    store, folder = open_store(work.out), f"{ATTEMPTS}/{shard_name(shard)}"
    lost = list(store.names(folder))
    store.create(attempt := f"{folder}/{secrets.token_hex(6)}", b"")
    keys = read_shard_keys(work, shard)
    fetched = _FetchedBytes()
    if len(lost) >= KILLS:
        from mien.distributed.isolate import read_one_by_one

        results = read_one_by_one(work, keys)
        recognizer = recognizer_of(work)
    else:
        recognizer = recognizer_of(work)
        results = read_keys(keys, recognizer, work.job, fetched)
    counts = _Counts()
    data = _rows_file(counts.over(results), recognizer.classes, counts)
    if not store.create(rows_name(shard), data):
        data = store.read(rows_name(shard))  # another was first; what it wrote counts
    for each in (attempt, *(f"{folder}/{name}" for name in lost)):
        store.delete(each)
    return done_of(shard, data, seconds=time.perf_counter() - started, bytes_read=fetched.bytes)


def done_of(shard: int, data: bytes, seconds: float = 0.0, bytes_read: int = 0) -> FinishedShard:
    """What a shard's file says about itself.

    Raises:
        ValueError: it is not a shard's file.
    """
    parquet: Any = import_module("pyarrow.parquet")
    footer = parquet.read_metadata(BytesIO(data))
    written: dict[bytes, bytes] = footer.metadata or {}
    counts = json.loads(written.get(b"mien", b"null"))
    if not counts:
        raise ValueError("no counts of mien's in the file")
    pictures, faces, failed = (int(counts[name]) for name in ("pictures", "faces", "failed"))
    sha256 = hashlib.sha256(data).hexdigest()
    return FinishedShard(shard, pictures, faces, failed, int(footer.num_rows), sha256, seconds, bytes_read)


def read_keys(
    keys: Iterable[PictureKey], recognizer: Recognizer, job: Job, fetched: _FetchedBytes | None = None
) -> Iterator[FrameReadings | Failure]:
    """Everything in these pictures, in their order."""
    frames = _frames(keys, recognizer, job, fetched or _FetchedBytes())
    return recognizer.read_all(frames, detect_every=job.detect_every, ahead=False)


class _FetchedBytes:
    """How many bytes of pictures came from object stores."""

    def __init__(self) -> None:
        self.bytes = 0


class _Counts:
    """Counts results as they pass."""

    def __init__(self) -> None:
        self.pictures = self.faces = self.failed = 0

    def over(self, results: Iterable[FrameReadings | Failure]) -> Iterator[Row]:
        """The rows of the results."""
        for result in results:
            if isinstance(result, Failure):
                self.failed += 1
            else:
                self.pictures += 1
                self.faces += len(result.readings)
            yield from rows_of(result)


def _rows_file(rows: Iterator[Row], classes: Sequence[str], counts: _Counts) -> bytes:
    parquet: Any = import_module("pyarrow.parquet")
    out = BytesIO()
    with parquet.ParquetWriter(out, arrow_schema(classes), compression="zstd") as writer:
        some: list[Row] = []
        for row in rows:
            some.append(row)
            if len(some) == FILE_ROWS:
                writer.write_batch(arrow_rows(some, classes))
                some = []
        writer.write_batch(arrow_rows(some, classes))
        about = {"pictures": counts.pictures, "faces": counts.faces, "failed": counts.failed}
        writer.add_key_value_metadata({"mien": json.dumps(about)})
    return out.getvalue()


# --- keys -> frames ---------------------------------------------------------------------------------------------------


def _frames(
    keys: Iterable[PictureKey], recognizer: Recognizer, job: Job, fetched: _FetchedBytes
) -> Iterator[Frame | Failure]:
    with ThreadPoolExecutor(READERS, thread_name_prefix="fetch") as pool:
        waiting: deque[tuple[PictureKey, Future[bytes] | None]] = deque()
        ahead = 0
        try:
            for key in chain(keys, [None]):
                if key is not None:
                    remote = key.problem is None and "://" in key.source
                    waiting.append((key, pool.submit(_fetch, key) if remote else None))
                    ahead += max(key.size, 0)
                while waiting and (key is None or len(waiting) > AHEAD or ahead > AHEAD_BYTES):
                    first, future = waiting.popleft()
                    ahead -= max(first.size, 0)
                    yield from _frames_of(first, future, recognizer, job, fetched)
        finally:
            pool.shutdown(cancel_futures=True)


def _frames_of(
    key: PictureKey, future: Future[bytes] | None, recognizer: Recognizer, job: Job, fetched: _FetchedBytes
) -> Iterator[Frame | Failure]:
    limits, reduction = recognizer.limits, recognizer.reduction
    if future is None:
        yield from read_item(_item(key), limits=limits, clip=job.clip, reduction=reduction)
        return
    index = 0
    try:
        data = future.result()
        fetched.bytes += len(data)
        for frame in decode(data, key.source, limits, reduction):
            yield frame
            index += 1
    except MediaError as error:
        yield Failure(key.source, index, str(error))


def _item(key: PictureKey) -> Item:
    path = Path(key.source)
    unknown = key.problem is None and path.suffix.lower() not in MEDIA_SUFFIXES and path.is_file()
    return Item(key.source, path, key.problem, video=unknown and kind_of_file(path) == "video")


def _fetch(key: PictureKey) -> bytes:
    """The bytes of an object.

    Raises:
        MediaError: it is empty, too large or gone, or cannot be asked for. StoreError: its store does not answer.
    """
    if key.size == 0:
        raise MediaError(f"{key.source}: an empty object, 0 bytes; expected a picture")
    if key.size > MAX_PICTURE_BYTES:
        raise MediaError(too_large(key.source, key.size, MAX_PICTURE_BYTES))
    if not is_url(key.source):
        raise MediaError(f"{key.source}: not an address that is read; expected s3://, gs://, az:// or a path")
    root, name = split_url(key.source)
    try:
        return open_store(root).read(name, MAX_PICTURE_BYTES)
    except FileNotFoundError:
        raise MediaError(f"{key.source}: no such object; it may have been removed since the run was planned") from None
    except BadAddress as error:  # one wrong row of a table is no fault of the shard
        raise MediaError(str(error)) from error
