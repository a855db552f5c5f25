"""Checks a stranger's bundle in a process of its own, so that a graph without end costs a sentence."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection

from mien.errors import BundleError, DeviceError, MienError
from mien.model.bundle import Bundle
from mien.model.device import CPU, parse_device
from mien.model.verify import Check, verify_bundle

TIME_S = 120.0
"""A graph that takes longer to load, run eleven faces and replay its golden vectors is no model of faces."""

MEMORY_BYTES = 4_000_000_000
"""What it may take beside a few times its own size. Kept on Linux, and on the processor only."""


def verify_apart(
    bundle: Bundle, device: str = "cpu", *, time_s: float | None = None, memory_bytes: int = MEMORY_BYTES
) -> tuple[Check, ...]:
    """Like `verify_bundle`, with a bound on time and memory.

    Args:
        bundle: what is checked.
        device: see `verify_bundle`.
        time_s: seconds until it is ended; None: `TIME_S`.
        memory_bytes: what the process may take.

    Raises:
        BundleError: as `verify_bundle`; it does not end in time, or ends the process that runs it.
        DeviceError: the device cannot be used.
    """
    time_s = TIME_S if time_s is None else time_s
    context = get_context("spawn")  # a forked one would share threads and locks
    mine, its = context.Pipe(duplex=False)
    bound = memory_bytes + 8 * len(bundle.model) if parse_device(device) == CPU else 0
    child = context.Process(target=_check, args=(its, bundle, device, bound), daemon=True)
    child.start()
    its.close()
    try:
        if not mine.poll(time_s):
            raise BundleError(f"{bundle.path}: its graph does not end within {time_s:g} s; it is not used")
        answer: tuple[Check, ...] | MienError = mine.recv()
    except EOFError:
        child.join()
        raise BundleError(
            f"{bundle.path}: its graph ended the process that ran it (exit code {child.exitcode}); it is not used"
        ) from None
    finally:
        child.kill()
        child.join()
        mine.close()
    if isinstance(answer, MienError):
        raise answer
    return answer


_good: dict[tuple[str, str], tuple[Check, ...]] = {}
"""sha256 of a model and a device -> checks that held. A server loads the same version more than once."""

REMEMBERED = 64


def verify_once(bundle: Bundle, device: str = "cpu") -> tuple[Check, ...]:
    """Like `verify_apart`, but a model that this process has found good is not run again.

    Raises:
        MienError: see `verify_apart`.
    """
    key = hashlib.sha256(bundle.model).hexdigest(), device
    if key not in _good:
        checks = verify_apart(bundle, device)
        if any(check.passed is False for check in checks):
            return checks
        if len(_good) >= REMEMBERED:
            _good.pop(next(iter(_good)))
        _good[key] = checks
    return _good[key]


def _check(to: Connection, bundle: Bundle, device: str, memory_bytes: int) -> None:
    if memory_bytes:
        with suppress(ImportError, ValueError, OSError):  # not on every system
            import resource

            resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    try:
        to.send(verify_bundle(bundle, 1, device))
    except DeviceError as error:
        to.send(DeviceError(str(error)))
    except MienError as error:
        to.send(BundleError(str(error)))
    except MemoryError:
        to.send(BundleError(f"{bundle.path}: its graph takes more than {memory_bytes:,} bytes; it is not used"))
