"""The annotated pictures of a run: a file each, under names that do not clash."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path

from mien.draw import annotate, write_picture
from mien.errors import OutputError
from mien.media import Item
from mien.records import Failure, FrameReadings


class Gallery:
    """Writes annotated pictures into a folder; the names are chosen before the first is written.

    It can be sent to another process, and several may write at once: each item has a name of its own.

    Raises:
        OutputError: a picture of that name exists and is not to be overwritten, or the folder cannot be made.
    """

    def __init__(self, folder: Path, items: Sequence[Item], *, overwrite: bool = False) -> None:
        used: set[str] = set()  # lower case: some file systems do not tell A.jpg from a.jpg
        self.paths: list[Path] = []
        for item in items:
            stem = Path(item.source).stem if item.path else "stdin"
            names = chain([stem], (f"{stem}-{number}" for number in count(2)))
            name = next(name for name in names if name.lower() not in used)
            used.add(name.lower())
            self.paths.append(folder / f"{name}.jpg")
        existing = [p for p in self.paths if p.exists()]
        if existing and not overwrite:
            raise OutputError(f"{existing[0]} exists already; choose another folder, or replace it with --overwrite")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: expected a folder to write pictures into ({error.strerror})") from error

    def add(self, number: int, result: FrameReadings | Failure) -> None:
        """Write the picture of one frame of item `number`."""
        if isinstance(result, Failure):
            return
        path = self.paths[number]
        if result.frame.time_s is not None:
            path = path.with_name(f"{path.stem}-{result.frame.index:05d}.jpg")
        write_picture(annotate(result.frame.image, result.readings), path)
