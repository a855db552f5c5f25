"""Every error mien raises on purpose.

    MienError
    ├── MediaError          a picture, folder or stream that cannot be read
    ├── DetectorError       a detector that cannot be made or run here
    ├── DeviceError         a device (a graphics card, ...) that cannot be used here
    ├── BundleError         a model file that cannot be used
    │   ├── ManifestError   its manifest is missing or breaks the schema
    │   └── BundleMismatch  its manifest and its graph contradict each other
    ├── DatasetError        labeled data that cannot be used as asked
    ├── TrainingError       a recipe or run that cannot go on
    ├── RegistryError       a model name or version that is not there
    ├── ServeError          a server that cannot start, or a request that it cannot answer
    ├── StoreError          an object store that cannot be reached or used
    └── OutputError         a result that cannot be written

A message says what was expected, what was found, and what to do about it. Where an argument of the call would help, the
error carries it as a `Remedy`; the command line words it as an option.
"""

from __future__ import annotations

from enum import Enum

__all__ = [
    "BundleError",
    "BundleMismatch",
    "DatasetError",
    "DetectorError",
    "DeviceError",
    "ManifestError",
    "MediaError",
    "MienError",
    "OutputError",
    "RegistryError",
    "Remedy",
    "ServeError",
    "StoreError",
    "TrainingError",
]


def reason(error: BaseException) -> str:
    """Why, in a few words: what the system says, or else the error itself, or else the name of its type."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def note_kept(error: BaseException, text: str, *remedies: Remedy) -> None:
    """Add to an error what is kept of the work that it ended, and the arguments by which another call goes on.

    An error of mien says it in its message; another one, such as Ctrl-C, carries it in `__notes__` and `remedies`.
    """
    if isinstance(error, MienError):
        error.args = (f"{error}; {text}",)
    else:
        setattr(error, "__notes__", [*getattr(error, "__notes__", ()), text])  # noqa: B010 - as Python 3.11 has it
    known: tuple[Remedy, ...] = getattr(error, "remedies", ())
    setattr(error, "remedies", (*known, *remedies))  # noqa: B010 - not every exception declares it


class Remedy(Enum):
    """An argument that the caller can give, or give otherwise, to be rid of an error."""

    CLASSES_SHARED = "shared_only"
    DATA = "data"
    INITIAL = "initial"
    NAME = "name"
    OUT = "out"
    OVERWRITE = "overwrite"
    PRUNE = "prune"
    REGISTRY = "registry"
    RESUME = "resume"
    SPLIT = "split"
    STORAGE = "storage"
    UNSEALED = "unsealed"
    VOTES = "votes"
    WORKERS = "workers"


class MienError(Exception):
    """Base of every error below; catch it to catch them all.

    Args:
        message: what was expected, what was found, what to do.
        remedies: arguments that help, in the order in which the message speaks of them.
    """

    def __init__(self, message: str = "", *remedies: Remedy) -> None:
        super().__init__(message)
        self.remedies = remedies


class MediaError(MienError):
    """A picture, folder or stream cannot be read."""


class DetectorError(MienError):
    """A face detector cannot be made or run."""


class DeviceError(MienError):
    """What should compute, a graphics card for example, cannot be used here."""


class BundleError(MienError):
    """A model file cannot be used."""


class ManifestError(BundleError):
    """A manifest is missing or breaks the schema."""


class BundleMismatch(BundleError):
    """A manifest and the graph it describes contradict each other."""


class DatasetError(MienError):
    """Labeled data cannot be used as asked."""


class TrainingError(MienError):
    """A recipe or a training run cannot go on."""


class RegistryError(MienError):
    """A model name or version is unknown."""


class ServeError(MienError):
    """A server cannot start, or cannot answer a request."""


class StoreError(MienError):
    """An object store cannot be reached or used."""


class OutputError(MienError):
    """A result cannot be written."""
