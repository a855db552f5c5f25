"""What flows through the pipeline: frames, faces, expressions, readings. All immutable.

Boxes are `xyxy` in pixels of the original frame (x to the right, y down, the far edge exclusive), time is in seconds,
probabilities are 0..1, images are BGR.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""uint8 `[H, W, 3]`, BGR."""

Box = tuple[float, float, float, float]
"""`(x1, y1, x2, y2)` in pixels of the original frame."""

Point = tuple[float, float]
"""`(x, y)` in pixels of the original frame."""

Landmarks = tuple[Point, Point, Point, Point, Point]
"""Eye on the picture's left, eye on its right, nose tip, mouth corner on its left, mouth corner on its right."""


@dataclass(frozen=True, slots=True, eq=False)
class Reduced:
    """A picture that was decoded at a fraction of its size, for faces that are large enough there.

    `image` is uint8 `[ceil(H / factor), ceil(W / factor), 3]` BGR, and `width` and `height` are those of the whole
    picture. `whole()` decodes it at its own size; it raises MediaError as decoding does.
    """

    image: Image
    factor: int
    width: int
    height: int
    whole: Callable[[], Image]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture: a photo, or one frame of an animation or video.

    `image` is uint8 `[H, W, 3]` BGR with EXIF orientation applied, or None once it has been let go: what comes back
    from another process has no picture. Of a picture that was decoded at a fraction of its size, `image` is None too,
    and `reduced` has what there is. `index` counts from 0 within `source`; `time_s` is None for a still. `note`
    says what a reader must know: that a file has more pages, or was cut short.
    """

    image: Image | None
    source: str
    index: int = 0
    time_s: float | None = None
    note: str = ""
    reduced: Reduced | None = None

    @property
    def pixels(self) -> Image:
        """`image`, where it must be there; a reduced one is decoded again at its own size, at each call.

        Raises:
            ValueError: it has been let go.
            MediaError: it cannot be decoded again.
        """
        if self.image is None and self.reduced:
            return self.reduced.whole()
        if self.image is None:
            raise ValueError(f"{self.source}: the picture of frame {self.index} has been let go")
        return self.image

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture at its own size; (0, 0) once it has been let go."""
        if self.reduced:
            return self.reduced.width, self.reduced.height
        return (0, 0) if self.image is None else (self.image.shape[1], self.image.shape[0])

    @property
    def held_pixels(self) -> int:
        """How many pixels are in memory."""
        held = self.reduced.image if self.reduced else self.image
        return 0 if held is None else held.shape[0] * held.shape[1]


@dataclass(frozen=True, slots=True)
class Face:
    """One detected face.

    `score` is the detector's own confidence, 0..1. `detector` says whose box this is: detectors draw different
    rectangles around the same face, and the crop takes that into account.
    """

    box_xyxy: Box
    score: float
    landmarks_xy: Landmarks | None = None
    detector: str = "unknown"


UNSURE_BELOW = 0.5
"""A reading is unsure where its likeliest class has a lower probability: most people would say something else.

Chosen on FER2013's validation split: of the thresholds tried it tells best the faces on which no class has most of ten
people's votes. It flags 13 % of the faces; there the model agrees with a person in 40 % of cases, elsewhere in 80 %."""


@dataclass(frozen=True, slots=True)
class Expression:
    """Probabilities over the classes of one model, in the model's order; they sum to 1.

    `answer` names what they are probabilities of (`people`: how people would vote; `fer2013`: that data set's label);
    empty where the model has one answer without a name.
    """

    classes: tuple[str, ...]
    probabilities: tuple[float, ...]
    answer: str = ""

    @property
    def label(self) -> str:
        """The class with the highest probability (the first of equals)."""
        return self.classes[self.probabilities.index(max(self.probabilities))]

    @property
    def confidence(self) -> float:
        """Probability of `label`, 0..1."""
        return max(self.probabilities)

    @property
    def disagreement(self) -> float:
        """How much people would disagree about this face: 0 all say the same, 1 every class is as likely.

        The entropy of the probabilities, divided by that of an even mix (Shannon 1948).
        """
        terms = (p * math.log(p) for p in self.probabilities if p > 0)
        return min(max(-sum(terms) / math.log(len(self.probabilities)), 0.0), 1.0)

    @property
    def unsure(self) -> bool:
        """Whether even the likeliest class is expected of fewer than half of people."""
        return self.confidence < UNSURE_BELOW

    def as_dict(self) -> dict[str, float]:
        """Class name -> probability."""
        return dict(zip(self.classes, self.probabilities, strict=True))


@dataclass(frozen=True, slots=True)
class Reading:
    """The expression that one face shows in one frame; `track` says whose face it is in a video, and is None else."""

    source: str
    frame: int
    time_s: float | None
    face: Face
    expression: Expression
    track: int | None = None

    def _repr_html_(self) -> str:
        """What a notebook shows: where the face is, and a bar for each class, the likeliest first."""
        about = [escape(self.source)]
        if self.time_s is not None:
            about.append(f"{self.time_s:.2f} s")
        if self.track is not None:
            about.append(f"track {self.track}")
        about.append(f"box {', '.join(f'{value:.0f}' for value in self.face.box_xyxy)}")
        about.append(f"disagreement {self.expression.disagreement:.2f}")
        if self.expression.unsure:
            about.append("unsure: most people would say something else")
        shares = sorted(self.expression.as_dict().items(), key=lambda item: -item[1])
        rows = "".join(
            f'<tr><td style="text-align:left">{escape(name)}</td><td>{share:.1%}</td><td style="width:10em">'
            f'<div style="width:{share:.1%};height:.7em;background:currentColor;opacity:.6"></div></td></tr>'
            for name, share in shares
        )
        return (
            f"<table><caption>{', '.join(about)}</caption><thead><tr><th>expression</th><th>probability</th>"
            f"<th></th></tr></thead><tbody>{rows}</tbody></table>"
        )


class Readings(list[Reading]):
    """A list of readings that a notebook shows as a table."""

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in ("face", "expression", "probability", "box (x1, y1, x2, y2)"))
        rows = "".join(
            f"<tr><td>{number}</td><td>{escape(reading.expression.label)}</td>"
            f"<td>{reading.expression.confidence:.1%}</td>"
            f"<td>{', '.join(f'{value:.0f}' for value in reading.face.box_xyxy)}</td></tr>"
            for number, reading in enumerate(self, 1)
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>" if self else "<p>no face found</p>"


@dataclass(frozen=True, slots=True)
class Failure:
    """A picture that could not be read: which, and why."""

    source: str
    frame: int
    message: str


@dataclass(frozen=True, slots=True)
class FrameReadings:
    """Everything read in one frame; `readings` is empty when no face was found."""

    frame: Frame
    readings: tuple[Reading, ...] = field(default=())
