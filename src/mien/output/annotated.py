"""The annotated pictures and films of a run: a file each, under names that do not clash."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path
from types import TracebackType

from mien.errors import OutputError, Remedy, reason
from mien.files import real_path
from mien.media import VIDEO_SUFFIXES, Item
from mien.output.blur import FaceBlur, blur_faces
from mien.output.draw import annotate, write_picture
from mien.output.video_writer import VideoWriter
from mien.records import Failure, FrameReadings
from mien.temporal.smoothing import ReadingSmoother


class AnnotationWriter:
    """Writes annotated pictures and, of videos, films into a folder; the names are chosen before the first is written.

    A context manager. Before its first film it can be sent to other processes, and several may write pictures at once:
    each item has a name of its own.

    Args:
        folder: made if it is not there.
        items: what will be read.
        overwrite: replace pictures and films of these names.
        blur: make the faces unrecognizable.

    Attributes:
        notes: where pictures and films fall short of what was asked, in words.

    Raises:
        OutputError: a picture of that name exists and is not to be overwritten, or the folder cannot be made.
    """

    def __init__(self, folder: Path, items: Sequence[Item], *, overwrite: bool = False, blur: bool = False) -> None:
        self.overwrite, self.blur = overwrite, blur
        self.notes: list[str] = []
        self._barless: Counter[str] = Counter()
        self.paths: list[Path] = []
        self._films: dict[int, _AnnotatedVideo] = {}  # at most one: items come in their order
        self._unwritten: set[int] = set()  # items whose film failed
        self._used: set[str] = set()  # lower case: some file systems do not tell A.jpg from a.jpg
        self._sources = [item.source for item in items]
        self._live = [item.is_live for item in items]
        self._inside: dict[str, Path] = {}  # of a compressed archive, whose members are known as they come
        for item in items:
            self.paths.append(folder / self._name(item.stem, ".mp4" if item.is_video else ".jpg"))
            is_film = self.paths[-1].suffix == ".mp4"
            if is_film and item.path and real_path(self.paths[-1]) == real_path(item.path):
                raise OutputError(f"{item.path}: its annotated film would replace it; choose another folder")
        existing = [p for p in self.paths if p.exists()]
        if existing and not overwrite:
            raise OutputError(f"{existing[0]} exists already; choose another folder, or replace it", Remedy.OVERWRITE)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: expected a folder to write pictures into ({reason(error)})") from error

    def _name(self, stem: str, suffix: str) -> str:
        """A name that no other source has."""
        names = chain([stem], (f"{stem}-{number}" for number in count(2)))
        name = next(name for name in names if name.lower() not in self._used)
        self._used.add(name.lower())
        return name + suffix

    def add(self, item: int, result: FrameReadings | Failure) -> None:
        """Draw one frame of an item, and write it or append it to the item's film."""
        if isinstance(result, Failure):
            return
        frame, path = result.frame, self.paths[item]
        if path.suffix == ".mp4":
            self._add_to_film(item, path, result)
            return
        if frame.source != self._sources[item] and frame.source not in self._inside:
            source = Path(frame.source)
            suffix = ".mp4" if source.suffix.lower() in VIDEO_SUFFIXES else ".jpg"
            self._inside = {frame.source: path.with_name(self._name(source.stem, suffix))}
        path = self._inside.get(frame.source, path)
        if frame.time_s is not None:
            path = path.with_name(f"{path.stem}-{frame.index:05d}.jpg")
        image = blur_faces(frame.pixels, result.readings) if self.blur else frame.pixels
        write_picture(annotate(image, result.readings, self._barless), path)

    def _add_to_film(self, item: int, path: Path, result: FrameReadings) -> None:
        """Append a frame. What cannot be written is said once, and not of every frame after it."""
        if item in self._unwritten:
            return
        try:
            if item not in self._films:
                self.close()
                sound = None if self._live[item] else Path(result.frame.source)
                self._films[item] = _AnnotatedVideo(path, sound, overwrite=self.overwrite, blur=self.blur)
            self._films[item].add(result)
        except OutputError:
            self._unwritten.add(item)
            raise

    def close(self, error: BaseException | None = None) -> None:
        """Finish the film under way; drop it if the run ended by an error."""
        while self._films:
            _, film = self._films.popitem()
            film.writer.close(error)
            self.notes += [f"{film.writer.path}: {note}" for note in film.writer.notes]
        if self._barless:
            reasons = ", ".join(f"{count} because {reason}" for reason, count in self._barless.most_common())
            total = sum(self._barless.values())
            self.notes.append(f"no bars beside {total} face{'' if total == 1 else 's'}: {reasons}")
            self._barless.clear()

    def __enter__(self) -> AnnotationWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(error)


class _AnnotatedVideo:
    """One film under way."""

    def __init__(self, path: Path, source: Path | None, *, overwrite: bool, blur: bool) -> None:
        self.writer = VideoWriter(path, sound=source, overwrite=overwrite)
        self._steady = ReadingSmoother()
        self._blur = FaceBlur() if blur else None

    def add(self, result: FrameReadings) -> None:
        image = self._blur.apply(result) if self._blur else result.frame.pixels
        self.writer.write(annotate(image, self._steady.update(result)), result.frame.time_s or 0.0)
