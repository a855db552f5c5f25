"""Names of what is live: `camera:0`, `rtsp://...`. Passwords are for connecting only, and never shown."""

from __future__ import annotations

import re
from pathlib import PurePath
from urllib.parse import SplitResult, urlsplit

from mien.errors import MediaError

SCHEMES = ("http", "https", "rtmp", "rtmps", "rtsp", "rtsps")
"""Network streams that are read."""

CAMERA = "camera:"
"""What a camera's name begins with: then its number, or its device file."""

HIDDEN = "***"

_AUTHORITY = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)")
_SECRET = re.compile(
    r"([?&;#][^=&;?#]*(?:pass|pwd|psw|token|secret|key|auth|sig|user|login|credential)[^=&;?#]*=)[^&;]*", re.IGNORECASE
)


def is_camera(source: str) -> bool:
    """Whether a source names a camera."""
    return source.startswith(CAMERA)


def is_stream(source: str) -> bool:
    """Whether a source names a network stream."""
    return source.partition("://")[0].lower() in SCHEMES and "://" in source


def is_live(source: str) -> bool:
    """Whether a source is a camera or a network stream, by its name."""
    return is_camera(source) or is_stream(source)


def shown(source: str) -> str:
    """The source as rows, errors and logs name it: `rtsp://***@host/stream`.

    Hidden is whatever stands before the host, and the value of each query parameter that sounds like a secret. A
    password ought to have its `/`, `?`, `#` and `@` escaped; where they are not, all up to the last `@` is hidden.
    """
    found = _AUTHORITY.match(source)
    if not found:
        return source
    begin, authority = found.start(1), found[1]
    at = source.rfind("@") if ":" in authority else authority.rfind("@") + begin if "@" in authority else -1
    rest = f"{HIDDEN}@{source[at + 1 :]}" if at >= begin else source[begin:]
    return source[:begin] + _SECRET.sub(rf"\1{HIDDEN}", rest)


def check_address(source: str) -> None:
    """Refuse a name that no camera or stream can have.

    Raises:
        MediaError: a camera that is neither a number nor a device file, or an address without a host.
    """
    if is_camera(source):
        which = source.removeprefix(CAMERA)
        if not (which.isascii() and which.isdigit()) and not which.startswith("/dev/"):
            raise MediaError(f"{source}: expected a camera's number or device, such as camera:0 or camera:/dev/video2")
    elif split(source) is None:
        scheme = source.partition("://")[0]
        raise MediaError(
            f"{shown(source)}: expected an address such as {scheme}://host:port/path, found none with a host; write "
            "'/', '?', '#' and '@' in a password as %2F, %3F, %23 and %40"
        )


def split(address: str) -> SplitResult | None:
    """The parts of an address; None if it has no host, or a port that is none."""
    try:
        parts = urlsplit(address)
        return parts if parts.hostname and parts.port != 0 else None
    except ValueError:
        return None


def stem(source: str) -> str:
    """A file's name, without suffix, for what is made of a source as `shown`."""
    if is_camera(source):
        name = "camera-" + PurePath(source.removeprefix(CAMERA)).name
    else:
        parts = split(source)
        path = PurePath(parts.path).stem if parts else ""
        name = path or (parts and parts.hostname) or "stream"
    return re.sub(r"[^\w.-]+", "_", name)
