"""The workers' queue: frames of a camera first, nobody for ever last, and nothing left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from mien.serve import workers
from mien.serve.workers import WorkerPool


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    made = WorkerPool(1)
    yield made
    made.shutdown()


def order_of(pool: WorkerPool, jobs: list[tuple[str, bool]]) -> list[str]:
    """The order in which jobs run that came while the only worker was busy."""
    go, seen = threading.Event(), list[str]()
    first = pool.submit(lambda: go.wait(10))
    futures = [pool.submit(lambda name=name: seen.append(name), urgent=urgent) for name, urgent in jobs]
    go.set()
    assert first.result(10)
    for future in futures:
        future.result(10)
    return seen


def test_a_frame_goes_before_pictures_and_each_kind_keeps_its_order(pool: WorkerPool):
    jobs = [("a", False), ("b", False), ("live 1", True), ("c", False), ("live 2", True)]
    assert order_of(pool, jobs) == ["live 1", "live 2", "a", "b", "c"]


def test_who_waited_longer_than_the_head_start_goes_first(pool: WorkerPool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(workers, "HEAD_START_S", 0.0)
    assert order_of(pool, [("picture", False), ("frame", True)]) == ["picture", "frame"]


def test_an_error_is_the_waiters_and_the_worker_goes_on(pool: WorkerPool):
    with pytest.raises(ZeroDivisionError):
        pool.submit(lambda: 1 / 0).result(10)
    assert pool.submit(lambda: 7).result(10) == 7


def test_what_waits_at_the_end_is_canceled_and_what_runs_is_finished():
    pool, go, begun = WorkerPool(1), threading.Event(), threading.Event()
    running = pool.submit(lambda: (begun.set(), go.wait(10))[1])
    waiting = pool.submit(lambda: 1)
    assert begun.wait(10)
    ending = threading.Thread(target=pool.shutdown)
    ending.start()
    while not waiting.cancelled():
        pass
    go.set()
    ending.join(10)
    assert running.result(10)
    with pytest.raises(RuntimeError, match="gone"):
        pool.submit(lambda: 1)
