"""The processes that train one network together, as `torchrun` starts them; one process alone is a group of one.

Each takes its share of every batch, and gradients are averaged (`DistributedDataParallel`). The first process decides
whatever must be decided once: it writes the run folder, asks the teachers, finds the faces, and measures.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from mien.errors import MienError, TrainingError

T = TypeVar("T")

PATIENCE = timedelta(hours=3)
"""So long the others wait for the first process, which may have faces to find in a million pictures."""


@dataclass(frozen=True)
class ProcessGroup:
    """`size` processes; this one is number `rank`, from 0, and computes on `device`."""

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process decides."""
        return self.rank == 0

    def share(self, network: nn.Module) -> nn.Module:
        """`network` with its gradients averaged over the group, after all have taken the first one's weights."""
        return network if self.size == 1 else DistributedDataParallel(network)

    def decide(self, make: Callable[[], T]) -> T:
        """What `make` returns in the first process, for all; where it raises, all do."""
        if self.size == 1:
            return make()
        outcome: list[object] = [None, None]
        if self.first:
            try:
                outcome[0] = make()
            except MienError as error:
                outcome[1] = error
        distributed.broadcast_object_list(outcome, src=0)
        if isinstance(outcome[1], MienError):
            raise outcome[1]
        return outcome[0]  # pyright: ignore[reportReturnType] - what make returned

    def in_turn(self, make: Callable[[], T]) -> T:
        """Each its own `make`, one after the other: the second finds in the cache what the first one put there."""
        result = make() if self.first else None
        for rank in range(1, self.size):
            distributed.barrier()
            if rank == self.rank:
                result = make()
        return result  # pyright: ignore[reportReturnType] - every process had its turn

    def mean(self, *values: float) -> list[float]:
        """Each value's mean over the group."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float32, device=self.device)
        distributed.all_reduce(total)
        return (total / self.size).tolist()


@contextmanager
def joined() -> Generator[ProcessGroup, None, None]:
    """The group that torchrun's environment variables describe, left again at the end.

    Raises:
        TrainingError: the other processes cannot be reached.
    """
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if size == 1:
        yield ProcessGroup(0, 1, device)
        return
    try:
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:  # what torch raises for an address that nobody answers at
        raise TrainingError(
            f"process {rank} of {size} cannot reach the others at {os.environ.get('MASTER_ADDR')}:"
            f"{os.environ.get('MASTER_PORT')} ({error}); start every one of them with torchrun"
        ) from error
    try:
        yield ProcessGroup(rank, size, device)
    finally:
        distributed.destroy_process_group()


def part_of(rows: Tensor, group: ProcessGroup) -> Tensor:
    """This process's share of a batch: every `size`-th row."""
    return rows[group.rank :: group.size]
