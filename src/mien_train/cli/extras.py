"""Which extra a missing package belongs to."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from mien.errors import TrainingError

EXTRAS = {
    "train": ("training", {"torch", "onnx", "onnxscript", "matplotlib", "tomli", "tensorboardX"}),
    "tune": ("tuning", {"optuna", "sqlalchemy", "tomli_w"}),
}
"""What each extra is for, and the packages that it brings."""


@contextmanager
def named_extra() -> Generator[None]:
    """Import training code inside this: a missing package becomes an error that names the extra to install.

    Raises:
        TrainingError: a package of an extra is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        for extra, (what, packages) in EXTRAS.items():
            if missing in packages:
                raise TrainingError(
                    f"{what} needs {error.name}, which is not installed; run: pip install 'mien[{extra}]'"
                ) from error
        raise
