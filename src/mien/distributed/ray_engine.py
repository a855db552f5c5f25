"""Ray as the engine: stateless tasks of one core each, on this machine or on a cluster.

Ray only moves numbers: a task gets the run and a shard's number, and returns counts. Nothing is put into its store.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from mien.distributed.engine import FinishedShard
from mien.distributed.shard import try_read_shard
from mien.distributed.work import WorkerRun
from mien.errors import StoreError

_SETTINGS = {
    "RAY_DEDUP_LOGS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Ray's workers would run at niceness 15, and starve on a machine that does anything else.
    "RAY_worker_niceness": "0",
}

PENDING_PER_CORE = 4
"""Tasks that wait for each core at most: what is submitted is held in the driver's memory."""


class RayEngine:
    """Tasks on a Ray cluster.

    Args:
        address: of a cluster, such as `ray://head:10001` or `auto`; None: that in RAY_ADDRESS, else Ray is started on
            this machine for the time of the run.
        workers: cores that are used of this machine; 0: all. Of a cluster: tasks that run at once at most; 0: all it
            has room for.

    Raises:
        StoreError: Ray is not installed.
    """

    def __init__(self, address: str | None = None, workers: int = 0) -> None:
        self._address, self._workers = address, workers
        self._ray = _package()

    def map(self, work: WorkerRun, shards: Iterable[int]) -> Iterator[FinishedShard]:
        """See `Engine.map`."""
        ray = self._ray
        started = not ray.is_initialized()
        if started:
            self._start()
        # Without end: a lost machine is no fault of the shard. One that kills its worker is taken apart (see `shard`).
        task = ray.remote(num_cpus=1, max_retries=-1)(_read)
        coming = iter(shards)
        pending: list[Any] = []
        try:
            while True:
                cores = max(int(ray.cluster_resources().get("CPU", 1)), 1)
                # No task waits where only some are wanted at once: an idle core would take it.
                room = self._workers if 0 < self._workers < cores else PENDING_PER_CORE * cores
                while len(pending) < room and (shard := next(coming, None)) is not None:
                    pending.append(task.remote(work, shard, str(Path.cwd())))
                if not pending:
                    return
                ready, pending = ray.wait(pending, num_returns=1)
                yield from ray.get(ready)
        except ray.exceptions.RayError as error:
            raise StoreError(f"Ray could not go on ({_first_line(error)}); the same command resumes the run") from error
        finally:
            for each in pending:
                ray.cancel(each, force=True)
            if started:
                ray.shutdown()

    def _start(self) -> None:
        # Ray reads these when it starts; users see mien's own messages instead of a paragraph about a lost worker.
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        local = self._address is None and not os.environ.get("RAY_ADDRESS")
        options: dict[str, Any] = {"num_cpus": self._workers or os.cpu_count()} if local else {}
        try:
            self._ray.init(
                address="local" if local else self._address,
                include_dashboard=False if local else None,
                log_to_driver=False,
                logging_level=logging.ERROR,
                **options,
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise StoreError(
                f"no Ray cluster at {self._address or os.environ.get('RAY_ADDRESS')} ({_first_line(error)}); check the "
                "address, or leave it out to use this machine"
            ) from error


def _read(work: WorkerRun, shard: int, folder: str) -> FinishedShard:
    with suppress(OSError):
        os.chdir(folder)  # paths of a source may be relative; a worker of Ray need not begin where the driver is
    return try_read_shard(work, shard)


def _package() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # mien tells nobody what its users do
    try:
        return import_module("ray")
    except ImportError:
        raise StoreError("the engine ray needs Ray: pip install 'mien[ray]'") from None


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
