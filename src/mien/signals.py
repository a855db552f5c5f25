"""Ctrl-C reaches every process of a terminal: the main one answers it, and those that it starts must not."""

from __future__ import annotations

import signal
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def starting_processes() -> Generator[None]:
    """Start processes inside this: Ctrl-C does not reach them, not even while they import what they need.

    They inherit the mask of this thread. Where a system has none (Windows), nothing is done.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def heed_ctrl_c() -> None:
    """In a process that was started so: take Ctrl-C from now on, also one that came meanwhile."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
