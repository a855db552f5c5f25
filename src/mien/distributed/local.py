"""The engine of one machine: processes, each with its own shard. One that dies costs no other anything."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

from mien.batch import begin_worker
from mien.distributed.engine import FinishedShard
from mien.distributed.shard import KILLS, try_read_shard
from mien.distributed.work import WorkerRun
from mien.errors import StoreError
from mien.signals import starting_processes

MOST_DEATHS = 4 * KILLS
"""How many workers may die with no shard done in between; after that, something else than a picture is wrong."""


class LocalEngine:
    """Processes of this machine.

    Args:
        workers: how many; 0: one a core.
    """

    def __init__(self, workers: int = 0) -> None:
        self.workers = workers or os.cpu_count() or 1

    def map(self, work: WorkerRun, shards: Iterable[int]) -> Iterator[FinishedShard]:
        """See `Engine.map`."""
        coming = iter(shards)
        # A pool for each worker: in a shared one, the death of one process ends all the others.
        free = [_hire() for _ in range(self.workers)]
        busy: dict[Future[FinishedShard], tuple[ProcessPoolExecutor, int]] = {}
        deaths = 0
        try:
            while True:
                while free and (shard := next(coming, None)) is not None:
                    pool = free.pop()
                    busy[_submit(pool, work, shard)] = pool, shard
                if not busy:
                    return
                for future in wait(busy, return_when=FIRST_COMPLETED).done:
                    pool, shard = busy.pop(future)
                    try:
                        done = future.result()
                    except BrokenProcessPool:
                        pool.shutdown()
                        deaths += 1
                        if deaths > MOST_DEATHS:
                            raise StoreError(
                                f"workers died {deaths} times without finishing a shard (last: {shard}); check the "
                                "memory of this machine, or use fewer workers"
                            ) from None
                        pool = _hire()
                        busy[_submit(pool, work, shard)] = pool, shard
                        continue
                    deaths = 0
                    free.append(pool)
                    yield done
        finally:
            for pool in [*free, *(pool for pool, _ in busy.values())]:
                for process in list((pool._processes or {}).values()):  # pyright: ignore[reportPrivateUsage]
                    process.kill()
                pool.shutdown(wait=False, cancel_futures=True)


def _submit(pool: ProcessPoolExecutor, work: WorkerRun, shard: int) -> Future[FinishedShard]:
    with starting_processes():
        return pool.submit(try_read_shard, work, shard)


def _hire() -> ProcessPoolExecutor:
    # "spawn" is the one way that works everywhere: a forked process inherits locks of threads that it has not.
    return ProcessPoolExecutor(1, get_context("spawn"), begin_worker)
