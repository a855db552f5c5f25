"""Files of tensors that mien wrote itself.

`torch.save` gives each part of a file its CRC-32, and `torch.load` does not look at them.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch

from mien.errors import TrainingError, reason


def read_tensors(path: Path, remedy: str) -> dict[str, Any]:
    """What `torch.save` wrote into a file, on the CPU.

    Args:
        path: of a checkpoint or of weights.
        remedy: what to do if it is damaged.

    Raises:
        TrainingError: it cannot be read, or is damaged; says what to do.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if (damaged := archive.testzip()) is not None:
                raise ValueError(f"the part {damaged} does not match its checksum")
        # weights_only: a pickle may run any code when it is opened.
        found: object = torch.load(path, weights_only=True, map_location="cpu")
        if not isinstance(found, dict):
            raise ValueError(f"expected a dictionary of tensors, found {type(found).__name__}")
    except Exception as error:  # zipfile and torch raise what the bytes drive them into
        why = reason(error).splitlines()[0] if reason(error) else ""
        raise TrainingError(f"{path}: damaged, or not a file of PyTorch tensors ({why[:200]}); {remedy}") from error
    return found
