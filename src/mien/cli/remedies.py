"""How the command line words what would help against an error: the library names an argument, this names an option."""

from __future__ import annotations

from collections.abc import Sequence

from mien.errors import MienError, Remedy

OPTIONS = {
    Remedy.CLASSES_SHARED: "--shared-only",
    Remedy.DATA: "--data",
    Remedy.INITIAL: "--init",
    Remedy.NAME: "--name",
    Remedy.OUT: "--out",
    Remedy.OVERWRITE: "--overwrite",
    Remedy.UNSEALED: "--unsealed",
    Remedy.PRUNE: "--prune",
    Remedy.REGISTRY: "--registry",
    Remedy.RESUME: "--resume",
    Remedy.SPLIT: "--split",
    Remedy.STORAGE: "--storage",
    Remedy.VOTES: "--votes",
    Remedy.WORKERS: "--workers",
}


def worded(error: MienError) -> str:
    """What the error says, and the options that help: "FILE: exists already; ... or replace it (--overwrite)"."""
    return with_options(str(error), error.remedies)


def with_options(text: str, remedies: Sequence[Remedy]) -> str:
    """A text, and the options that help."""
    options = ", ".join(OPTIONS[remedy] for remedy in remedies)
    return f"{text} ({options})" if options else text
