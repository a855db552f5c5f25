"""Check training data before anything heavy is imported or decoded."""

from __future__ import annotations

from pathlib import Path

from mien.dataset.table import has_split
from mien.errors import DatasetError


def check_training_data(root: Path) -> None:
    """Refuse, before any work, what cannot be trained on: neither folders nor a table with both splits.

    Raises:
        DatasetError: nothing is there, or not both splits.
    """
    if not root.exists():
        raise DatasetError(f"{root}: expected a folder of labeled pictures, or a CSV of their paths; found nothing")
    for split in ("train", "validation"):
        if not has_split(root, split):
            what = "row of split" if root.is_file() else "folder"
            raise DatasetError(
                f"{root}: no {what} {split!r}; training needs train/<class>/ and validation/<class>/, or a CSV with "
                "columns path, label and split"
            )
