"""What an engine is: something that scores shards somewhere and says when each is done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from mien.distributed.work import WorkerRun


@dataclass(frozen=True, slots=True)
class FinishedShard:
    """One shard that was scored.

    Attributes:
        shard: its number.
        pictures: pictures, and frames of videos, that were read.
        faces: faces found in them.
        failed: pictures that could not be read; each has an error row.
        rows: in the shard's file.
        sha256: of the shard's file.
        seconds: that its worker spent on it.
        bytes_read: of pictures, from an object store.
        error: why it could not be scored; then there is no file, and the rest means nothing.
    """

    shard: int
    pictures: int = 0
    faces: int = 0
    failed: int = 0
    rows: int = 0
    sha256: str = ""
    seconds: float = 0.0
    bytes_read: int = 0
    error: str | None = None


class Engine(Protocol):
    """Schedules shards, and nothing else: pictures never pass through it.

    It calls `mien.distributed.shard.try_read_shard(work, shard)` somewhere, again where a worker was lost, and hands
    on what that returns. A shard read twice does no harm: its file is written once.
    """

    def map(self, work: WorkerRun, shards: Iterable[int]) -> Iterator[FinishedShard]:
        """Score shards, in any order.

        Args:
            work: what workers need to know; it can be pickled.
            shards: numbers; taken as workers get free, not all at once.

        Raises:
            MienError: workers cannot be had, or die again and again.
        """
        ...
