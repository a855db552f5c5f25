"""Episodes -> a file for ELAN, the annotation program (.eaf, format 3.0): one tier a track."""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from xml.etree import ElementTree as ET

from mien.files import real_path, replacing
from mien.output.files import check_free
from mien.records import Failure, FrameReadings
from mien.temporal.episodes import Episode, Observer

SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"


class EafFile:
    """A `Sink` that writes the episodes of one video to a file for ELAN.

    Args:
        video: the file that is read.
        path: of the file to write.
        overwrite: replace it if it is there.

    Raises:
        OutputError: `path` exists already.
    """

    def __init__(self, video: Path, path: Path, *, overwrite: bool = False) -> None:
        check_free(path, overwrite=overwrite)
        self._video, self._path, self._overwrite = video, path, overwrite
        self._observer = Observer()
        self._closed = False
        self.episodes: int | None = None
        """How many the file holds, once it is written."""

    def add(self, item: int, result: FrameReadings | Failure) -> None:
        """Take the readings of the next frame."""
        if not isinstance(result, Failure):
            self._observer.add(result)

    def close(self, error: BaseException | None = None) -> None:
        """Write the file; after an `error`, none.

        Raises:
            OutputError: it cannot be written.
        """
        if not self._closed and error is None:
            episodes = list(self._observer.finish())
            write_elan(episodes, self._video, self._path, overwrite=self._overwrite)
            self.episodes = len(episodes)
        self._closed = True


def write_elan(episodes: Iterable[Episode], video: Path, path: Path, *, overwrite: bool = False) -> None:
    """Write episodes of `video` to `path`, atomically; the file refers to the video, it does not hold it.

    Raises:
        OutputError: `path` exists already, or cannot be written.
    """
    check_free(path, overwrite=overwrite)
    document = ET.ElementTree(_document(list(episodes), video, path))
    ET.indent(document)
    with replacing(path) as temporary:
        document.write(temporary, encoding="UTF-8", xml_declaration=True)


def _document(episodes: list[Episode], video: Path, path: Path) -> ET.Element:
    root = ET.Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": "mien",
            "DATE": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "FORMAT": "3.0",
            "VERSION": "3.0",
            "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
            "xsi:noNamespaceSchemaLocation": SCHEMA,
        },
    )
    header = ET.SubElement(root, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    ET.SubElement(
        header,
        "MEDIA_DESCRIPTOR",
        MEDIA_URL=real_path(video).as_uri(),
        RELATIVE_MEDIA_URL="./" + Path(os.path.relpath(real_path(video), real_path(path).parent)).as_posix(),
        MIME_TYPE=mimetypes.guess_type(video.name)[0] or "video/unknown",
    )
    times = sorted({round(1000 * t) for e in episodes for t in (e.start_s, e.end_s)})
    order = ET.SubElement(root, "TIME_ORDER")
    for number, time_ms in enumerate(times, 1):
        ET.SubElement(order, "TIME_SLOT", TIME_SLOT_ID=f"ts{number}", TIME_VALUE=str(time_ms))
    slots = {time_ms: f"ts{number}" for number, time_ms in enumerate(times, 1)}
    tiers: dict[int, ET.Element] = {}
    for number, episode in enumerate(sorted(episodes, key=lambda e: (e.track, e.start_s)), 1):
        if episode.track not in tiers:
            tiers[episode.track] = ET.SubElement(
                root, "TIER", TIER_ID=f"track {episode.track}", LINGUISTIC_TYPE_REF="expression shown"
            )
        annotation = ET.SubElement(
            ET.SubElement(tiers[episode.track], "ANNOTATION"),
            "ALIGNABLE_ANNOTATION",
            ANNOTATION_ID=f"a{number}",
            TIME_SLOT_REF1=slots[round(1000 * episode.start_s)],
            TIME_SLOT_REF2=slots[round(1000 * episode.end_s)],
        )
        ET.SubElement(annotation, "ANNOTATION_VALUE").text = episode.label
    ET.SubElement(
        root,
        "LINGUISTIC_TYPE",
        LINGUISTIC_TYPE_ID="expression shown",
        TIME_ALIGNABLE="true",
        GRAPHIC_REFERENCES="false",
    )
    return root
