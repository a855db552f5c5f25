"""Somebody's weights and code -> a network that mien can ask: what it takes, what it answers, how pictures are scaled.

Weights alone say neither their network nor their classes. The network is the course's, in the sizes of the weights, or
what the user's own code makes. What is not told is guessed as the course has it, and noted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mien.dataset import canonical
from mien.errors import TrainingError
from mien.model.manifest import InputSpec
from mien_train.networks.custom_module import import_custom, make_custom_network, settings_of
from mien_train.networks.emotion_net import (
    MODULE_HINT,
    SIDE,
    course_kernels,
    doubts,
    is_emotion_net,
    load_emotion_net,
)
from mien_train.networks.modules import Rescaled
from mien_train.networks.state_dict import load_checked, read_state_dict

NETWORKS = ("si100b",)
"""Networks that need no code of the user's."""

SIDES = (
    20,
    24,
    28,
    32,
    36,
    40,
    44,
    48,
    56,
    60,
    64,
    72,
    80,
    90,
    96,
    100,
    112,
    128,
    150,
    160,
    192,
    200,
    224,
    227,
    256,
    299,
)
"""Sides in pixels that are tried for a hint when a network cannot take its input."""

Color = Literal["rgb", "bgr", "gray"]


@dataclass(frozen=True)
class CustomOptions:
    """What is told about weights; the rest is guessed.

    Attributes:
        network: one of `NETWORKS`, or empty.
        module: `FILE.py:NAME` or `package.module:NAME`, or empty. It is imported, which runs it.
        classes: names in the order of the outputs.
        size: height and width of the input in pixels.
        color: what the network sees.
        mean: subtracted from pixels in 0..1, one value or one for each channel.
        std: divided by after that.
    """

    network: str = ""
    module: str = ""
    classes: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    color: Color | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


@dataclass(frozen=True)
class CustomNetwork:
    """A network with its weights, ready for inference.

    Attributes:
        network: float `[N, C, H, W]` in -1..1, as every network here -> logits `[N, K]`.
        classes: K names.
        input: what it takes.
        recipe: how it was made, for the manifest.
        notes: what was guessed, for people.
    """

    network: nn.Module
    classes: tuple[str, ...]
    input: InputSpec
    recipe: dict[str, Any]
    notes: tuple[str, ...] = field(default=())


class LogitsOfProbabilities(nn.Module):
    """A network that ends with a softmax; the logarithm undoes it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x).clamp_min(1e-12).log()


def open_custom_network(path: Path, told: CustomOptions, data_classes: Sequence[str] = ()) -> CustomNetwork:
    """The network that `path` holds the weights of.

    Args:
        path: see `mien_train.networks.state_dict.read_state_dict`.
        told: what is known of it.
        data_classes: classes of a labeled folder, for weights whose classes are not told: the course sorts them.

    Raises:
        TrainingError: the weights cannot be read or belong to another network; code that does not run; classes in
            another number than outputs; an output that is not `[N, K]`.
    """
    state = read_state_dict(path)
    if told.network and told.module:
        raise TrainingError("expected a network's name or the code that makes one, found both; leave one out")
    if told.network and told.network not in NETWORKS:
        raise TrainingError(f"unknown network {told.network!r}: expected one of {', '.join(NETWORKS)}")
    classes = check_classes(told.classes or data_classes, path)
    guessed: list[str] = []
    if told.module:
        network = make_custom_network(told.module, len(classes))
        load_checked(network, state, path, told.module)
        network.eval()
        recipe = {"module": told.module, "module_sha256": _digest(told.module)}
    elif told.network or is_emotion_net(list(state)):
        network = load_emotion_net(path, state)
        guessed += doubts(network)
        recipe = {"network": {"name": "si100b"}}
    else:
        raise TrainingError(
            f"{path}: weights alone do not say their network, and these are not the course's; name the code that makes "
            "it: module = my_net/classify.py:makeEmotionNet"
        )
    spec, mean, std, notes = _input(state, told)
    notes = guessed + notes
    if not told.classes:
        notes.append(f"classes: {', '.join(classes)} (sorted, as the course's loaders do)")
    rescaled = Rescaled(network, mean, std).eval()
    if told.module or rescaled.scaled:
        network = rescaled
    network = _checked_answers(path, network, spec, classes, notes)
    return CustomNetwork(network, classes, spec, {**recipe, "mean": list(mean), "std": list(std)}, tuple(notes))


def custom_recipe(path: Path, told: CustomOptions) -> dict[str, Any]:
    """The parts of a training recipe that weights decide: network, size and color.

    Raises:
        TrainingError: the weights cannot be read, or do not say their network; a network that no recipe can describe.
    """
    state = read_state_dict(path)
    spec, mean, std, _ = _input(state, told)
    if spec.height != spec.width or spec.color == "bgr":
        raise TrainingError(
            f"{path}: training takes square pictures, rgb or gray, found {spec.height} x {spec.width} {spec.color}"
        )
    if told.module:
        network: dict[str, Any] = {"name": "module", "module": told.module, "mean": mean, "std": std}
    else:
        shape = load_emotion_net(path, state).shape
        if shape.paddings != course_kernels(len(shape.widths))[1]:
            raise TrainingError(f"{path}: paddings {shape.paddings} cannot stand in a recipe; {MODULE_HINT}")
        network = {
            "name": "si100b", "widths": shape.widths, "kernels": shape.kernels, "hidden": shape.hidden,
            "batch_norm": shape.batch_norm, "attention": "se" if shape.attention else "none",
        }  # fmt: skip
    return {"network": network, "color": spec.color, "size": spec.height}


def check_classes(classes: Sequence[str], source: Path) -> tuple[str, ...]:
    """Canonical names of the classes, or an error that says what is wrong with them.

    Raises:
        TrainingError: fewer than two, or two alike.
    """
    labels = tuple(canonical(c) for c in classes if c.strip())
    if len(labels) < 2 or len(set(labels)) != len(labels):
        raise TrainingError(
            f"{source}: weights do not say their classes; expected at least two different classes in the order of the "
            f"network's outputs (happy,neutral,sad), found {', '.join(classes) or 'none'}"
        )
    return labels


def _input(
    state: dict[str, Tensor], told: CustomOptions
) -> tuple[InputSpec, tuple[float, ...], tuple[float, ...], list[str]]:
    """The input, mean and standard deviation of each channel, and what was guessed of them."""
    guess = _of_transform(told.module) if told.module else _Transform()
    origin = "from the code's transform" if guess.found else "the course's"
    convolutions = [t for t in state.values() if t.ndim == 4]
    seen = int(convolutions[0].shape[1]) if convolutions else 0
    color: Color = told.color or ("gray" if seen == 1 else "rgb" if seen == 3 else guess.color or "rgb")
    channels = 1 if color == "gray" else 3
    size = told.size or guess.size or (SIDE, SIDE)
    mean, std = (_per_channel(v, channels) for v in (told.mean or guess.mean, told.std or guess.std))
    if not all(value > 0 for value in std):
        raise TrainingError(f"std: expected values above 0, found {', '.join(map(str, std))}")
    notes = [
        f"{what} ({origin})"
        for what, given in (
            (f"size {size[0]} x {size[1]}", told.size),
            (f"mean {_values(mean)}", told.mean),
            (f"std {_values(std)}", told.std),
        )
        if not given
    ]
    try:
        spec = InputSpec(height=size[0], width=size[1], channels=channels, color=color)
    except ValueError as error:
        raise TrainingError(f"size: expected 8 to 1024 pixels, found {size[0]} x {size[1]}") from error
    return spec, mean, std, notes


def _checked_answers(
    path: Path, network: nn.Module, spec: InputSpec, classes: tuple[str, ...], notes: list[str]
) -> nn.Module:
    """The network, if its answers are logits `[N, K]`; if they are probabilities, their logarithm."""
    noise = torch.rand(3, spec.channels, spec.height, spec.width, generator=torch.Generator().manual_seed(0)) * 2 - 1
    answers = [_ask(path, network, noise[:count], spec, len(classes)) for count in (1, 3, 3)]
    for count, answer in zip((1, 3), answers, strict=False):
        shape = list(answer.shape) if isinstance(answer, Tensor) else f"an object of type {type(answer).__name__}"
        if not isinstance(answer, Tensor) or answer.ndim != 2 or len(answer) != count:
            raise TrainingError(
                f"{path}: expected the network to answer {count} pictures with [{count}, {len(classes)}] numbers, "
                f"found {shape}"
            )
        if answer.shape[1] != len(classes):
            raise TrainingError(
                f"{path}: the network was trained for {answer.shape[1]} classes, but {len(classes)} are named "
                f"({', '.join(classes)}); name all {answer.shape[1]}, in the order of training"
            )
    if not torch.allclose(answers[1], answers[2], atol=1e-5):
        raise TrainingError(
            f"{path}: the network answers the same picture differently each time, also in model.eval(); write "
            "F.dropout(x, p, training=self.training) where it drops values"
        )
    if bool((answers[1] >= 0).all()) and torch.allclose(answers[1].sum(dim=1), torch.ones(3), atol=1e-4):
        notes.append("the network ends with a softmax: the bundle's logits are the logarithm of its answers")
        return LogitsOfProbabilities(network).eval()
    return network


@torch.no_grad()
def _ask(path: Path, network: nn.Module, images: Tensor, spec: InputSpec, classes: int) -> Any:
    try:
        return network(images)
    except Exception as error:  # the user's own code runs here
        fitting = [side for side in SIDES if _takes(network, spec.channels, side, classes)]
        hint = f"; it takes {' or '.join(f'{s} x {s}' for s in fitting[:3])}: give that size" if fitting else ""
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TrainingError(
            f"{path}: the network cannot take {len(images)} pictures of {spec.channels} x {spec.height} x {spec.width} "
            f"({first}){hint}"
        ) from error


@torch.no_grad()
def _takes(network: nn.Module, channels: int, side: int, classes: int) -> bool:
    try:
        return list(network(torch.zeros(2, channels, side, side)).shape) == [2, classes]
    except Exception:  # whatever the user's code raises: this side is not the one
        return False


@dataclass(frozen=True)
class _Transform:
    """What a `transform` of the user's code does to a picture, as far as it can be read."""

    found: bool = False
    size: tuple[int, int] | None = None
    color: Color | None = None
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.5,)


def _of_transform(module: str) -> _Transform:
    """Read `transforms.Compose([Resize(...), Grayscale(), ToTensor(), Normalize(...)])` by its parts' names."""
    for transform in settings_of(import_custom(module.rpartition(":")[0])):
        if isinstance(transform, dict):  # the course has one for training and one for evaluating
            transform = transform.get("evaluate")
        steps = {type(step).__name__: step for step in getattr(transform, "transforms", [])}
        if "ToTensor" not in steps:
            continue
        size = getattr(steps.get("Resize"), "size", None)
        if isinstance(size, int):
            size = (size, size)
        pair = (int(size[0]), int(size[-1])) if isinstance(size, (list, tuple)) and size else None
        scale = steps.get("Normalize")
        mean = tuple(float(v) for v in getattr(scale, "mean", (0.0,)))
        std = tuple(float(v) for v in getattr(scale, "std", (1.0,)))
        return _Transform(True, pair, "gray" if "Grayscale" in steps else None, mean, std)
    return _Transform()


def _per_channel(values: Sequence[float], channels: int) -> tuple[float, ...]:
    if len(values) == channels:
        return tuple(values)
    if len(set(values)) == 1:
        return tuple(values[:1]) * channels
    raise TrainingError(f"expected 1 or {channels} values for {channels} channels, found {_values(values)}")


def _values(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in dict.fromkeys(values))


def _digest(module: str) -> str:
    """sha256 of the user's file, so that a bundle says which code made its network; empty for a module's name."""
    path = Path(module.rpartition(":")[0])
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
