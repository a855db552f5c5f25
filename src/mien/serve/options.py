"""What a server is told at its start. The defaults suit one machine and its own user."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

from mien.errors import ServeError
from mien.media.limits import MAX_PIXELS
from mien.model.prior import TRAINING

MAX_PICTURES = 16
"""Pictures in one request."""

MAX_FRAMES = 64
"""Frames of one animation that are read."""

QUEUE_PER_WORKER = 8
"""Pictures that may wait for each worker: about so many times one picture's time is the longest wait."""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """Settings of `mien serve`.

    Attributes:
        models: bundled names, files, or `NAME@production` and `NAME@3` of the registry; the first answers unless a
            request names another.
        host, port: where to listen; port 0 takes a free one.
        admin: where the admin routes listen, `HOST:PORT` or `unix:PATH`; "" for nowhere.
        token_file: a file whose first line every request must carry; None: no token.
        open: listen on other addresses than loopback without a token.
        hosts: further names of this server that a request's Host may give.
        origins: pages of other origins that may call it.
        workers: threads that read pictures; 0: one a core.
        queue: pictures that may wait; 0: 8 for each worker.
        queue_bytes: bytes of bodies held at once.
        max_body: largest body, bytes.
        max_pixels: larger pictures are refused before decoding, pixels.
        timeout_s: a request that has waited so long is answered 504.
        body_timeout_s: a body must have arrived after so long.
        answer, prior, prior_strength: what every model answers, and the mix of classes to expect; see
            `mien.Recognizer`. A model that has no such answer does not serve.
        detector, min_face, min_score, turned: see `mien.detect.make_detector`; detector "" takes the default one.
        device: what computes; see `mien.model.device`.
        unsealed: serve a file that carries a manifest and has lost its seal; the registry's always carry one.
        registry, files: see `mien.registry.open_registry`.
        poll_s: how often the registry is asked whether an alias moved, seconds.
        drain_s: how long `ready` answers 503 before the server stops to listen, seconds.
    """

    models: tuple[str, ...] = ("default",)
    host: str = "127.0.0.1"
    port: int = 8000
    admin: str = ""
    token_file: Path | None = None
    open: bool = False
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    workers: int = 0
    queue: int = 0
    queue_bytes: int = 256 * 2**20
    max_body: int = 32 * 2**20
    max_pixels: int = min(50_000_000, MAX_PIXELS)
    timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    answer: str | None = None
    prior: str = TRAINING
    prior_strength: float = 1.0
    detector: str = ""
    min_face: float | None = None
    min_score: float | None = None
    turned: bool = False
    device: str = "auto"
    unsealed: bool = False
    registry: str = ""
    files: str = ""
    poll_s: float = 2.0
    drain_s: float = 3.0

    @property
    def worker_count(self) -> int:
        """Threads that read pictures."""
        return self.workers or os.cpu_count() or 1

    @property
    def queue_pictures(self) -> int:
        """Pictures that may wait."""
        return self.queue or QUEUE_PER_WORKER * self.worker_count

    def token(self) -> str:
        """The token that requests must carry; "" for none.

        Raises:
            ServeError: the file cannot be read or has no token in it; or none is wanted on an address that is not
                loopback.
        """
        if self.token_file is None:
            if not self.open and not is_loopback(self.host):
                raise ServeError(
                    f"{self.host} can be reached from other machines: give a token file, or allow everybody on purpose "
                    "(open)"
                )
            return ""
        try:
            token = self.token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ServeError(f"{self.token_file}: the token cannot be read ({error})") from error
        if len(token) < 16 or not token.isascii() or not token.isprintable() or " " in token:
            raise ServeError(
                f"{self.token_file}: expected one line of at least 16 printable ASCII characters without blanks; make "
                "one with: openssl rand -hex 32"
            )
        return token


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
