"""How the command line words what would help against an error: the library names an argument, this names an option."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mien.errors import MienError, Remedy

OPTIONS = {
    Remedy.CLASSES_SHARED: "--shared-only",
    Remedy.DATA: "--data",
    Remedy.INITIAL: "--init",
    Remedy.NAME: "--name",
    Remedy.OUT: "--out",
    Remedy.OVERWRITE: "--overwrite",
    Remedy.UNSEALED: "or take it as it is: --unsealed",
    Remedy.PRUNE: "--prune",
    Remedy.REGISTRY: "--registry",
    Remedy.RESUME: "--resume",
    Remedy.SPLIT: "--split",
    Remedy.STORAGE: "--storage",
    Remedy.VOTES: "--votes",
    Remedy.WORKERS: "--workers",
}


def worded(error: MienError, options: Collection[str] | None = None) -> str:
    """What the error says, and the options that help: "FILE: exists already; ... or replace it (--overwrite)".

    `options` are those of the command that failed, for no other is of use to its caller; None: all that there are.
    """
    known = [one for one in error.remedies if options is None or OPTIONS[one].rpartition(" ")[2] in options]
    return with_options(str(error), known)


def with_options(text: str, remedies: Sequence[Remedy]) -> str:
    """A text, and the options that help."""
    options = ", ".join(OPTIONS[remedy] for remedy in remedies)
    return f"{text} ({options})" if options else text
