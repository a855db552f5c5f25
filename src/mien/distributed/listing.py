"""Lists a bucket in parallel, in the order of its keys, without holding them: several ranges of keys at once.

A store answers a listing a thousand keys at a time, one answer after the other: 100 million keys would take hours.
So the keys are cut into ranges by the first character in which they differ, found with some dozens of requests.
"""

from __future__ import annotations

import queue
import string
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise

from mien.distributed.object_store import PAGE, ObjectStore

Keys = list[tuple[str, int]]
"""Names and their sizes in bytes, sorted."""

CUTS = sorted("-_" + string.digits + string.ascii_letters)
"""Characters at which a listing is cut; what lies between two of them is one range."""

LISTERS = 8
"""Ranges that are listed at once."""

PAGES_AHEAD = 8
"""Pages of a range that wait for the reader at most."""

LAST = "\U0010ffff"
"""Sorts behind every other character."""


def list_keys(store: ObjectStore, parallel: bool = True) -> Iterator[Keys]:
    """Every key of a store, sorted, a page at a time.

    Args:
        store: bucket and prefix.
        parallel: list ranges of keys at once; not for a store that cannot begin in the middle.

    Raises:
        StoreError, MediaError: see `ObjectStore.pages`.
    """
    if not parallel:
        yield from store.pages()
        return
    first = next(store.pages(), Keys())
    if len(first) < PAGE:
        yield first
        return
    bounds = [None, *_cuts(store, first[0][0]), None]
    ranges = [_Range(store, low, high) for low, high in pairwise(bounds)]
    stop = threading.Event()
    with ThreadPoolExecutor(LISTERS, thread_name_prefix="list") as pool:
        try:
            for each in ranges:
                pool.submit(each.fill, stop)
            for each in ranges:
                yield from each.pages()
        finally:
            stop.set()


def _cuts(store: ObjectStore, first: str) -> list[str]:
    """Where to cut: the names that all keys share in the beginning, and one more character."""
    low, high = 0, len(first)  # all share first[:low]; not all share first[:high + 1]
    while low < high:
        middle = (low + high + 1) // 2
        if next(store.pages(after=first[:middle] + LAST), None):
            high = middle - 1
        else:
            low = middle
    shared = first[:low]

    def first_behind(name: str) -> str:
        return next(store.pages(after=name), [("", 0)])[0][0]

    with ThreadPoolExecutor(LISTERS) as pool:
        following = pool.map(first_behind, [shared + cut for cut in CUTS])
        # Of cuts with the same key behind them, one is enough; behind the last there is none.
        return list({key: shared + cut for cut, key in zip(CUTS, following, strict=True) if key}.values())


class _Range:
    """The keys behind `low`, up to `high` and with it, filled by one thread and read by another."""

    def __init__(self, store: ObjectStore, low: str | None, high: str | None) -> None:
        self._store, self._low, self._high = store, low, high
        self._queue: queue.Queue[Keys | Exception | None] = queue.Queue(PAGES_AHEAD)

    def fill(self, stop: threading.Event) -> None:
        try:
            for page in self._store.pages(after=self._low):
                inside = page if self._high is None else [each for each in page if each[0] <= self._high]
                if inside:
                    self._put(inside, stop)
                if len(inside) < len(page) or stop.is_set():
                    break
        except Exception as error:  # the reader raises it
            self._put(error, stop)
        self._put(None, stop)

    def pages(self) -> Iterator[Keys]:
        while (page := self._queue.get()) is not None:
            if isinstance(page, Exception):
                raise page
            yield page

    def _put(self, what: Keys | Exception | None, stop: threading.Event) -> None:
        while not stop.is_set():
            with suppress(queue.Full):
                self._queue.put(what, timeout=0.2)
                return
