"""Reads the pictures of a shard one by one in a process of its own, and goes on behind the one that kills it."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from mien.batch import without_pixels
from mien.distributed.sources import PictureKey
from mien.distributed.work import WorkerRun, recognizer_of
from mien.errors import MienError, StoreError
from mien.records import Failure, FrameReadings
from mien.signals import starting_processes

Results = list["FrameReadings | Failure"]

KILLED = "reading it killed the process that did (out of memory, or a fault in a decoder); it is left out"


def read_one_by_one(work: WorkerRun, keys: Sequence[PictureKey]) -> Iterator[FrameReadings | Failure]:
    """Everything in these pictures; a picture that kills its process twice in a row becomes a `Failure`.

    Raises:
        MienError: what reading a shard raises.
    """
    at, killed = 0, False
    while at < len(keys):
        before = at
        for results in _child(work, keys[at:]):
            yield from results
            at += 1
        if at == len(keys):
            return
        if killed and at == before:
            yield Failure(keys[at].source, 0, f"{keys[at].source}: {KILLED}")
            at, killed = at + 1, False
        else:
            killed = True  # once may be chance: the same picture is tried again, as the first of a new process


def _child(work: WorkerRun, keys: Sequence[PictureKey]) -> Iterator[Results]:
    """Results of one picture after the other, as far as the process lives."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-m", "mien.distributed.isolate"]
    with starting_processes():
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    with process:
        assert process.stdin
        assert process.stdout
        try:
            pickle.dump((work, list(keys)), process.stdin)
            process.stdin.close()
            while True:
                results: Results | str = pickle.load(process.stdout)
                if isinstance(results, str):
                    raise StoreError(results)
                yield results
        except (EOFError, pickle.UnpicklingError, BrokenPipeError):
            return
        finally:
            process.kill()


def main(source: BinaryIO, out: BinaryIO) -> None:
    """The process: takes work and keys, gives the results of each key."""
    from mien.distributed.shard import read_keys

    work, keys = pickle.load(source)
    try:
        recognizer = recognizer_of(work)
        for key in keys:
            results: Results = [without_pixels(each) for each in read_keys([key], recognizer, work.job)]
            pickle.dump(results, out)
            out.flush()
    except MienError as error:
        pickle.dump(str(error), out)
        out.flush()


if __name__ == "__main__":
    # Whatever a library prints must not come between the results.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    main(sys.stdin.buffer, answers)
