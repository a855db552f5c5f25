"""THE CONTRACT between training and inference: what a model file says about itself.

The manifest travels inside the `.onnx` file (metadata key `mien.manifest`), or beside somebody else's model as
`NAME.manifest.json`. The runtime builds its preprocessing from it and from nothing else. Fields may be added within a
schema version (readers ignore what they do not know); any other change raises `SCHEMA_VERSION`.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator

from mien.errors import ManifestError

SCHEMA_VERSION = 1

DEFAULT_FRAMING = "default"
"""Key of the framing used for a detector that the manifest does not name."""

_SAME_BOXES = {"yunet": "libface", "libface": "yunet"}
"""Detectors that draw the same boxes: libface is the earlier name of yunet, in bundles made before."""

ClassName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class InputSpec(_Part):
    """The input tensor: `[N, H, W, C]` or `[N, C, H, W]`, N dynamic.

    A bundle made by mien takes uint8 `NHWC` and normalises inside its graph. `scale`, `mean` and `std` are for other
    people's float models: the tensor is then `(pixel * scale - mean) / std`, `mean` and `std` per channel.
    """

    name: str = "faces"
    layout: Literal["NHWC", "NCHW"] = "NHWC"
    dtype: Literal["uint8", "float32"] = "uint8"
    height: int = Field(ge=8, le=1024)
    width: int = Field(ge=8, le=1024)
    channels: Literal[1, 3]
    color: Literal["gray", "bgr", "rgb"]
    scale: float = 1.0
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    @model_validator(mode="after")
    def _agree(self) -> InputSpec:
        if (self.color == "gray") != (self.channels == 1):
            raise ValueError(f"color {self.color!r} does not go with channels {self.channels}")
        if self.dtype == "uint8" and (self.scale != 1.0 or self.mean or self.std):
            raise ValueError("scale, mean and std are for dtype 'float32'; a uint8 model normalises inside its graph")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and len(values) != self.channels:
                raise ValueError(f"{name} has {len(values)} values for {self.channels} channels")
        return self


class OutputSpec(_Part):
    """Names of the output tensors, each float32 `[N, K]`. Without `probabilities` the softmax of `logits` is taken."""

    probabilities: str | None = "probabilities"
    logits: str | None = "logits"

    @model_validator(mode="after")
    def _some(self) -> OutputSpec:
        if not (self.probabilities or self.logits):
            raise ValueError("name at least one of probabilities and logits")
        return self


class Framing(_Part):
    """How the model's square view of a face follows from one detector's box.

    The square's side is `margin` x a length of the box: its longer side, or the geometric mean of both. Its centre is
    the box's centre moved by `shift_xy` (as fractions of the square's side, along the face's own axes once the eyes are
    level).
    """

    margin: float = Field(gt=0.2, lt=5)
    length: Literal["longer", "mean"] = "longer"
    shift_xy: tuple[float, float] = (0.0, 0.0)

    def length_of(self, width: float, height: float) -> float:
        """The length that `margin` multiplies, of a box of this size."""
        return max(width, height) if self.length == "longer" else math.sqrt(width * height)


class CropSpec(_Part):
    """How a face is cut out of a frame.

    `align="eyes"` turns the face until its eyes are level, where the detector gives landmarks. `resize` names the
    kernel: area averaging when shrinking, bilinear when enlarging. Outside the frame the nearest pixel is repeated.
    """

    align: Literal["eyes", "none"] = "none"
    resize: Literal["area-linear"] = "area-linear"
    framings: dict[str, Framing] = Field(default_factory=lambda: {DEFAULT_FRAMING: Framing(margin=1.0)})

    @field_validator("framings")
    @classmethod
    def _has_default(cls, framings: dict[str, Framing]) -> dict[str, Framing]:
        if DEFAULT_FRAMING not in framings:
            raise ValueError(f"expected a framing called {DEFAULT_FRAMING!r}, for detectors that are not named")
        return framings

    def framing(self, detector: str) -> Framing:
        """The framing for boxes of `detector`; a picture that is itself the face ("whole") is taken as it is."""
        if detector == "whole":
            return Framing(margin=1.0)
        known = (name for name in (detector, _SAME_BOXES.get(detector)) if name in self.framings)
        return self.framings[next(known, DEFAULT_FRAMING)]


class Calibration(_Part):
    """The temperature inside the graph, and the split it was fitted on."""

    temperature: float = Field(default=1.0, gt=0)
    split: str = ""


class TrainingInfo(_Part):
    """Where the weights come from."""

    data: str = ""
    licence: str = ""
    recipe: dict[str, object] = Field(default_factory=dict[str, object])
    seed: int | None = None
    code: str = ""
    parent_sha256: str | None = None


class Metric(_Part):
    """One measured number: on which split of what, over how many samples, and the command that gives it again."""

    name: str
    value: float
    split: str
    samples: int = Field(ge=1)
    command: str = ""


class Manifest(_Part):
    """Everything a runtime must know about a model. `classes` are in the order of the output columns."""

    schema_version: Literal[1] = SCHEMA_VERSION
    name: str = "unnamed"
    created: str = ""
    classes: tuple[ClassName, ...] = Field(min_length=2)
    input: InputSpec
    outputs: OutputSpec = OutputSpec()
    crop: CropSpec = CropSpec()
    calibration: Calibration = Calibration()
    training: TrainingInfo = TrainingInfo()
    metrics: tuple[Metric, ...] = ()
    weights_sha256: str = ""

    @field_validator("classes")
    @classmethod
    def _distinct(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if len({c.lower() for c in classes}) != len(classes):
            raise ValueError(f"class names must differ, also without regard to case; found {', '.join(classes)}")
        return classes

    def to_json(self) -> str:
        """The manifest as JSON; `parse_manifest` reads it back equal."""
        return self.model_dump_json(indent=2)


def parse_manifest(text: str | bytes, source: str) -> Manifest:
    """Read and validate a manifest.

    Args:
        text: JSON.
        source: the file it came from, for the error.

    Raises:
        ManifestError: not JSON, or a field that breaks the schema: every such field is named with what was found.
    """
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'manifest'}: {e['msg']} (found {_short(e['input'])})"
            for e in error.errors()
        )
        raise ManifestError(f"{source}: the manifest breaks schema version {SCHEMA_VERSION}: {problems}") from error


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
