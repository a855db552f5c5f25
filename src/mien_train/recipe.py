"""A recipe: everything that decides how a network is trained, in one validated TOML file."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from mien.errors import TrainingError, reason
from mien_train.recipes import bundled_recipes


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NetworkRecipe(_Part):
    """Which network, and its modules."""

    name: Literal["resnet", "si100b", "module"] = Field(
        "resnet",
        description="resnet: ours; si100b: the course's emotionNet, for which widths, kernels, hidden, batch_norm, "
        "attention, levels and dropout count; module: a user's own code",
    )
    widths: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = Field(
        (32, 64, 128, 256),
        min_length=1,
        max_length=6,
        description="channels of each stage; each after the first halves the resolution",
    )
    blocks: tuple[Annotated[int, Field(ge=1, le=100)], ...] = Field(
        (2, 2, 2, 2), min_length=1, max_length=6, description="residual blocks in each stage"
    )
    stem: Literal["full", "pool", "wide", "stride"] = Field(
        "pool",
        description="all but full: the first stage works at half resolution, four times faster; wide: pool with larger "
        "windows, as in dlib's network, whose weights it can start from; stride skips the full resolution altogether",
    )
    attention: Literal["none", "se"] = Field("none", description="se: squeeze-excitation at the end of each block")
    levels: Literal["fixed", "picture"] = Field(
        "fixed", description="picture: the network first brings each picture to the same mean and contrast"
    )
    inner: float = Field(
        1.0, gt=0, le=1, description="share of a block's channels between its two convolutions, in steps of 8 channels"
    )
    dropout: float = Field(0.2, ge=0, lt=1, description="before the last layer; in si100b 0 unless given")
    batch_norm: bool = Field(
        True, description="normalize after each convolution; resnet always does, si100b only if this is given"
    )
    kernels: tuple[Annotated[int, Field(ge=1, le=16)], ...] | None = Field(
        None, description="of si100b: side of each convolution's kernel; default: 3, 3, 4, then 3"
    )
    hidden: tuple[Annotated[int, Field(ge=1, le=4096)], ...] | None = Field(
        None, description="of si100b: outputs of each linear layer but the last; default: 256, 64"
    )
    module: str = Field("", description="of module: FILE.py:NAME, which `mien train --init WEIGHTS --module` sets")
    mean: tuple[float, ...] = Field((0.5,), description="of module: subtracted from pixels in 0..1")
    std: tuple[Annotated[float, Field(gt=0)], ...] = Field((0.5,), description="of module: divides after that")

    @model_validator(mode="before")
    @classmethod
    def _course_defaults(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("name") != "si100b":
            return values
        widths = values.get("widths", (64, 128, 256))
        blocks = (1,) * len(widths) if isinstance(widths, (list, tuple)) else (1,)
        course = {"widths": widths, "blocks": blocks, "dropout": 0.0, "batch_norm": False, "hidden": (256, 64)}
        return {**course, **values}

    @model_validator(mode="after")
    def _honored(self) -> NetworkRecipe:
        """Refuse what this network would ignore."""
        if self.name == "si100b":
            ignored = {"stem": self.stem != "pool", "blocks": set(self.blocks) != {1}, "inner": self.inner != 1}
            if self.kernels and len(self.kernels) != len(self.widths):
                raise ValueError(f"widths has {len(self.widths)} convolutions and kernels {len(self.kernels)}")
        else:
            ignored = {"kernels": self.kernels is not None, "hidden": self.hidden is not None}
            ignored["batch_norm"] = self.name == "resnet" and not self.batch_norm
        if self.name != "module":
            ignored["module"] = bool(self.module)
            ignored |= {"mean": set(self.mean) != {0.5}, "std": set(self.std) != {0.5}}
        elif not self.module:
            raise ValueError("name = 'module' needs module = 'FILE.py:NAME', the code that makes the network")
        if named := [field for field, given in ignored.items() if given]:
            raise ValueError(f"network {self.name} cannot do anything with {', '.join(named)}; leave it out")
        return self


class AugmentRecipe(_Part):
    """What is done to a training picture. Probabilities are per picture; strengths are drawn uniformly."""

    flip: bool = Field(True, description="mirror half of the pictures")
    rotate_deg: float = Field(15, ge=0, le=90, description="turn by up to this many degrees")
    scale: float = Field(0.15, ge=0, lt=1, description="enlarge or shrink by up to this share")
    stretch: float = Field(
        0.0, ge=0, lt=1, description="make wider or narrower by up to this share, as a head that turns looks"
    )
    shear: float = Field(0.0, ge=0, lt=1, description="lean by up to this share of the height")
    shift: float = Field(0.08, ge=0, lt=1, description="move by up to this share of the picture's side")
    brightness: float = Field(0.25, ge=0, le=1, description="add up to this share of white or black")
    contrast: float = Field(0.35, ge=0, lt=1, description="multiply contrast by 1 +- up to this")
    blur_share: float = Field(0.1, ge=0, le=1, description="share of pictures blurred (Gaussian)")
    blur_sigma: float = Field(1.5, gt=0.5, le=8, description="of the strongest blur, in pixels; the weakest has 0.5")
    low_res_share: float = Field(0.1, ge=0, le=1, description="share shrunk to 16-36 px and enlarged again")
    jpeg_share: float = Field(
        0.0, ge=0, le=1, description="share as a JPEG of quality 5 to 60 leaves it; the picture's side divides by 8"
    )
    noise: float = Field(0.03, ge=0, le=0.5, description="standard deviation of Gaussian noise is drawn up to this")
    noise_share: float = Field(1.0, ge=0, le=1, description="share of pictures with such noise")
    erase_share: float = Field(
        0.4, ge=0, le=1, description="share with a rectangle (up to a quarter of the area) blanked"
    )


class Recipe(_Part):
    """One training run. Equal recipes on equal data with equal versions, threads and processor give equal weights."""

    network: NetworkRecipe = Field(default_factory=lambda: NetworkRecipe.model_validate({}))
    augment: AugmentRecipe = Field(default_factory=lambda: AugmentRecipe.model_validate({}))
    size: int = Field(48, ge=16, le=256, description="side of the model's input in pixels")
    start_size: int | None = Field(
        None,
        ge=16,
        le=256,
        description="side of the training pictures in the first epoch, if not size; it grows in steps of 8 px: small "
        "pictures are quickly learned from",
    )
    full_size_from: float = Field(
        0.7, gt=0, lt=1, description="share of the epochs after which the pictures have their full size"
    )
    color: Literal["gray", "rgb"] = Field("gray", description="what the model sees")
    align: Literal["eyes", "none"] = Field(
        "eyes", description="whether detected faces are turned until the eyes are level"
    )
    detected_share: float = Field(
        0.0, ge=0, le=1, description="share of the training pictures shown as the default detector would frame them"
    )
    epochs: int = Field(60, ge=1, le=1000, description="how often every picture is seen")
    batch_size: int = Field(128, ge=2, le=4096, description="pictures a step, over all processes together")
    balance: float = Field(
        0.0,
        ge=0,
        le=1,
        description="draw a class of n pictures in proportion to n ** (1 - balance); 1: all classes equally often",
    )
    optimizer: Literal["sgd", "adamw"] = Field(
        "sgd",
        validation_alias=AliasChoices("optimizer", "optimiser"),  # the latter in the first bundles and runs
        description="adamw wants a learning_rate near 0.001 and a weight_decay near 0.05",
    )
    learning_rate: float = Field(
        0.1, gt=0, le=10, description="at the top of the schedule (linear warm-up, then cosine to 0)"
    )
    warmup_epochs: float = Field(2, ge=0, le=50, description="epochs until the rate is at its top")
    momentum: float = Field(0.9, ge=0, lt=1, description="Nesterov's in sgd; of the first moment in adamw")
    weight_decay: float = Field(5e-4, ge=0, le=1, description="on weights of convolutions and linear layers")
    label_share: float = Field(
        0.5, ge=0, le=1, description="target = this x the label + the rest x the votes, where there are votes"
    )
    label_weight: float = Field(1.0, ge=0, le=10, description="weight of the output that learns the label, in the loss")
    votes_weight: float = Field(
        0.0, ge=0, le=10, description="weight of the output that learns the votes, in the loss; 0: there is none"
    )
    votes_teacher_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the votes' target that soft targets given as --teacher FILE.npz decide, averaged",
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of the target spread evenly over all classes")
    teacher_share: float = Field(
        0.0, ge=0, le=1, description="share of the target that the networks given as teachers decide, averaged"
    )
    teacher_sees: Literal["picture", "view"] = Field(
        "picture",
        description="picture: teachers are asked once, about each picture as it is; view: at every step, about what "
        "the pupil sees, augmented and mixed (dearer)",
    )
    mixup: float = Field(
        0.0, ge=0, le=5, description="mix each batch with itself by a share from Beta(mixup, mixup); 0: do not"
    )
    cutmix: float = Field(
        0.0,
        ge=0,
        le=5,
        description="paste a rectangle of one picture into another, its area from Beta(cutmix, cutmix); with mixup, "
        "each batch has one of the two",
    )
    ema_decay: float = Field(
        0.999, ge=0, lt=1, description="moving average of the weights, per step; the average is what is kept"
    )
    gradient_clip: float = Field(5.0, gt=0, description="largest norm of the gradient")
    precision: Literal["auto", "bf16", "fp32"] = Field(
        "auto", description="bf16: autocast; auto: bf16 where the processor has it, else fp32"
    )
    compile: bool = Field(
        False,
        description="let torch.compile fuse the network's operations: a minute for each size of the pictures, then up "
        "to twice as fast; without a C++ compiler it is left out",
    )
    seed: int = Field(0, ge=0, description="of weights, order, augmentation and dropout")

    @field_validator("size")
    @classmethod
    def _divides(cls, size: int, info: ValidationInfo) -> int:
        augmentation = info.data.get("augment")
        if size % 8 and augmentation is not None and augmentation.jpeg_share:
            raise ValueError("expected a multiple of 8 with augment.jpeg_share: JPEG works on squares of 8 pixels")
        return size

    @field_validator("start_size")
    @classmethod
    def _grows(cls, start_size: int | None, info: ValidationInfo) -> int | None:
        if start_size and start_size > (size := info.data.get("size", start_size)):
            raise ValueError(f"expected at most size, {size}: pictures grow")
        return start_size


def load_recipe(path: Path) -> Recipe:
    """Read a recipe from TOML; fields that are left out have their defaults.

    `base = "NAME"` takes over another recipe: a file beside this one, or one that mien brings along. What stands in the
    file itself wins; of a table such as `[augment]`, field by field.

    Args:
        path: a file, or the name of a recipe that mien brings along (`mien_train.recipes`). A file of that name wins.

    Raises:
        TrainingError: no such file, not TOML, an unknown field (with the nearest known one), a value out of range, or
            recipes that name each other as their base.
    """
    found = path if path.exists() else bundled_recipes().get(str(path), path)
    return parse_recipe(_with_base(found, str(path), ()), str(path))


def _with_base(path: Path, source: str, above: tuple[Path, ...]) -> dict[str, Any]:
    """The values of a recipe and, below them, of its base; `above` are the recipes that led here."""
    try:
        values = tomli.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise TrainingError(
            f"{source}: cannot read the recipe ({reason(error)}); expected a file, or one of "
            f"{', '.join(bundled_recipes())}"
        ) from error
    except (tomli.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TrainingError(f"{source}: not valid TOML in UTF-8 ({error})") from error
    if "base" not in values:
        return values
    base = values.pop("base")
    if not isinstance(base, str):
        raise TrainingError(
            f"{source}: base: expected the name of a recipe or of a file beside this one, found {base!r}"
        )
    beside = path.parent / base
    below = beside if beside.is_file() else bundled_recipes().get(base, beside)
    above = (*above, path.resolve())
    if below.resolve() in above:
        raise TrainingError(
            f"{source}: base: these recipes go round in a circle: {path.name}, {base}; one needs values"
        )
    return _merged(_with_base(below, f"{source}: base {base!r}", above), values)


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` over `below`, tables field by field."""
    tables = {
        name: _merged(below[name], value)
        for name, value in above.items()
        if isinstance(value, dict) and isinstance(below.get(name), dict)
    }
    return below | above | tables


def parse_recipe(values: dict[str, Any], source: str) -> Recipe:
    """Validate a recipe given as nested dictionaries; `source` names it in errors."""
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise TrainingError(
            f"{source}: " + "; ".join(_explain(e["loc"], e["type"], e["msg"], e["input"]) for e in error.errors())
        ) from error


def _explain(loc: tuple[int | str, ...], kind: str, message: str, value: object) -> str:
    field = ".".join(map(str, loc))
    if kind != "extra_forbidden":
        if isinstance(value, dict):  # a whole part of the recipe: the message names the field
            return f"{field}: {message.removeprefix('Value error, ')}"
        return f"{field}: {message} (found {value!r})"
    part: Any = Recipe
    for name in loc[:-1]:
        part = part.model_fields[str(name)].annotation
    near = get_close_matches(str(loc[-1]), list(part.model_fields), n=1, cutoff=0.3)
    return f"unknown field {field!r}" + (f"; did you mean {near[0]!r}?" if near else "")
