"""THE CONTRACT between training and inference: what a model file says about itself.

The manifest travels inside the `.onnx` file (metadata key `mien.manifest`), or beside somebody else's model as
`NAME.manifest.json`. The runtime builds its preprocessing from it and from nothing else. Fields may be added within a
schema version (readers ignore what they do not know); any other change raises `SCHEMA_VERSION`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from mien.checked_json import strict_json
from mien.errors import BundleError, ManifestError, reason

SCHEMA_VERSION = 1

MAX_MANIFEST_BYTES = 10_000_000
"""Largest manifest read."""

MAX_CLASSES = 1000

LEAST_TEMPERATURE, GREATEST_TEMPERATURE = 0.001, 1000.0
"""What a calibration may say; outside, an answer is one class or no answer."""

NAMED_PROBLEMS = 5
"""At most this many broken fields are named in an error."""

DEFAULT_FRAMING = "default"
"""Key of the framing used for a detector that the manifest does not name."""

_SAME_BOXES = {"yunet": "libface", "libface": "yunet"}
"""Detectors that draw the same boxes: libface is the earlier name of yunet, in bundles made before."""

ClassName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)]


AnswerName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$|^$", max_length=32)]

PEOPLE = "people"
"""The answer that says how a panel of people would vote: the default of every bundle that has it."""

FER2013 = "fer2013"
"""The answer that says which label FER2013 would carry: one person's choice of a web search's find."""


class _Part(BaseModel):
    # Deferred: building all parts for themselves, and again within the manifest, takes as long as loading a model.
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, defer_build=True)


class InputSpec(_Part):
    """The input tensor: `[N, H, W, C]` or `[N, C, H, W]`, N dynamic.

    A bundle made by mien takes uint8 `NHWC` and normalizes inside its graph. `scale`, `mean` and `std` are for other
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
            raise ValueError("scale, mean and std are for dtype 'float32'; a uint8 model normalizes inside its graph")
        if self.scale <= 0 or any(value <= 0 for value in self.std or ()):
            raise ValueError("scale and std must be more than 0")
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


Shift = Annotated[float, Field(ge=-5, le=5)]


class Framing(_Part):
    """How the model's square view of a face follows from one detector's box.

    The square's side is `margin` x a length of the box: its longer side, or the geometric mean of both. Its center is
    the box's center moved by `shift_xy` (as fractions of the square's side, along the face's own axes once the eyes are
    level).
    """

    margin: float = Field(gt=0.2, lt=5)
    length: Literal["longer", "mean"] = "longer"
    shift_xy: tuple[Shift, Shift] = (0.0, 0.0)

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

    temperature: float = Field(default=1.0, ge=LEAST_TEMPERATURE, le=GREATEST_TEMPERATURE)
    split: str = ""


class Answer(_Part):
    """One of the answers that a bundle gives: what it means, its output tensors, and how they are to be read.

    Attributes:
        name: how `--answer` calls it; empty for the only answer of a bundle that names none.
        classes: in the order of the output columns.
        outputs: its tensors.
        calibration: the temperature of its probabilities.
        prior: class -> share of the training targets, summing to about 1; empty where it is not declared.
        meaning: one sentence for people.
    """

    name: AnswerName
    classes: tuple[ClassName, ...] = Field(min_length=2, max_length=MAX_CLASSES)
    outputs: OutputSpec
    calibration: Calibration = Calibration()
    prior: dict[ClassName, PositiveFloat] = Field(default_factory=dict[ClassName, PositiveFloat])
    meaning: str = ""

    @field_validator("classes")
    @classmethod
    def _distinct(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        return _different(classes)

    @model_validator(mode="after")
    def _prior_of_all(self) -> Answer:
        if self.prior and set(self.prior) != set(self.classes):
            raise ValueError(
                f"expected a prior for each of {', '.join(self.classes)}; found one for {', '.join(self.prior)}"
            )
        return self


class TrainingInfo(_Part):
    """Where the weights come from."""

    data: str = ""
    license: str = Field(default="", validation_alias=AliasChoices("license", "licence"))  # so in the first bundles
    recipe: dict[str, object] = Field(default_factory=dict[str, object])
    seed: int | None = None
    code: str = ""
    parent_sha256: str | None = None


class Metric(_Part):
    """One measured number: of which answer, on which split, over how many samples, and the command that repeats it."""

    name: str
    value: float
    split: str
    samples: int = Field(ge=1)
    command: str = ""
    answer: str = ""


class Manifest(_Part):
    """Everything a runtime must know about a model.

    `classes`, `outputs` and `calibration` describe the answer that is given unless another is asked for. A bundle with
    several answers lists all of them in `answers`, that one first; readers of before there were several ignore the
    list.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    name: str = "unnamed"
    created: str = ""
    classes: tuple[ClassName, ...] = Field(min_length=2, max_length=MAX_CLASSES)
    input: InputSpec
    outputs: OutputSpec = OutputSpec()
    crop: CropSpec = CropSpec()
    calibration: Calibration = Calibration()
    training: TrainingInfo = TrainingInfo()
    metrics: tuple[Metric, ...] = ()
    weights_sha256: str = ""
    answers: tuple[Answer, ...] = ()

    @field_validator("classes")
    @classmethod
    def _distinct(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        return _different(classes)

    @model_validator(mode="after")
    def _answers_agree(self) -> Manifest:
        if not self.answers:
            return self
        names, first = [answer.name for answer in self.answers], self.answers[0]
        if len(set(names)) != len(names) or not all(names):
            raise ValueError(f"answers need names that differ; found {', '.join(repr(n) for n in names)}")
        if PEOPLE in names[1:]:
            raise ValueError(f"expected {PEOPLE!r} to be the first answer, as it is the default; found {names[0]!r}")
        if (first.classes, first.outputs, first.calibration) != (self.classes, self.outputs, self.calibration):
            raise ValueError(
                f"expected the classes, outputs and calibration of the first answer, {first.name!r}; found others"
            )
        return self

    @property
    def all_answers(self) -> tuple[Answer, ...]:
        """Every answer, the default one first; of a bundle that names none, the one that it gives, without a name."""
        if self.answers:
            return self.answers
        return (Answer(name="", classes=self.classes, outputs=self.outputs, calibration=self.calibration),)

    def answer(self, name: str | None = None) -> Answer:
        """The answer of this name; None: the default one, which is `people` where the bundle has it.

        Raises:
            BundleError: the bundle has no answer of this name; those that it has are named.
        """
        every = self.all_answers
        found = every[0] if name is None else next((answer for answer in every if answer.name == name), None)
        if found is None:
            has = ", ".join(a.name for a in self.answers) or "one without a name, which is given when none is asked for"
            raise BundleError(f"model {self.name!r} has no answer {name!r}; it has {has}")
        return found

    @property
    def label_answer(self) -> Answer:
        """The answer that says what the training data's labels say: the first one that is not `people`."""
        return next((answer for answer in self.all_answers if answer.name != PEOPLE), self.answer())

    def with_answers(self, answers: Sequence[Answer]) -> Manifest:
        """A copy with these answers; the first is the default, and one without a name is not listed."""
        first = answers[0]
        return self.model_copy(
            update={
                "classes": first.classes, "outputs": first.outputs, "calibration": first.calibration,
                "answers": tuple(answers) if first.name else (),
            }
        )  # fmt: skip

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
    if len(text) > MAX_MANIFEST_BYTES:
        raise ManifestError(f"{source}: a manifest of more than {MAX_MANIFEST_BYTES:,} bytes")
    try:
        strict_json(text)  # of a field that stands twice, the other parser takes the last without a word
    except ValueError as error:
        raise ManifestError(f"{source}: the manifest is no JSON ({reason(error)[:200]})") from error
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        broken = error.errors()
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc']))[:60] or 'manifest'}: {e['msg'][:120]} (found {_short(e['input'])})"
            for e in broken[:NAMED_PROBLEMS]
        )
        problems += f"; and {len(broken) - NAMED_PROBLEMS} more" if len(broken) > NAMED_PROBLEMS else ""
        raise ManifestError(f"{source}: the manifest breaks schema version {SCHEMA_VERSION}: {problems}") from error


def _different(classes: tuple[str, ...]) -> tuple[str, ...]:
    if len({c.lower() for c in classes}) != len(classes):
        raise ValueError(f"class names must differ, also without regard to case; found {', '.join(classes)}")
    return classes


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
