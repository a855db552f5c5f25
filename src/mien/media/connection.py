"""What a camera and a network stream have in common while they are open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from mien.records import Image


class StampedImage(NamedTuple):
    """A picture uint8 `[H, W, 3]` BGR, and its presentation stamp in seconds, if it has one."""

    image: Image
    stamp_s: float | None


class ConnectionLost(Exception):
    """A connection has ended that should go on; says why."""


class Connection(Protocol):
    """One connection, from opening to its end."""

    @property
    def recording(self) -> bool:
        """Whether it is a recording, which can wait and be read again from any place, and not live."""
        ...

    @property
    def declared_s(self) -> float | None:
        """How long a recording says it is."""
        ...

    def shots(self, from_s: float) -> Iterator[StampedImage | str]:
        """Pictures, and in words what is damaged; a recording from about `from_s` on, its stamps from 0.

        Raises:
            Broken: the connection has.
        """
        ...

    def close(self) -> None:
        """End it."""
        ...


Connect = Callable[[], Connection]
"""Opens a connection; raises MediaError where that fails."""
