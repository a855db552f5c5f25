"""The SI100B course's network, `emotionNet`, in any of the sizes that students give it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien.errors import TrainingError
from mien.model.manifest import DEFAULT_FRAMING, CropSpec, Framing, InputSpec
from mien_train.networks.modules import ImageNormalization, SqueezeExcitation
from mien_train.networks.state_dict import check_finite, load_checked

SIDE = 48
"""Of the course's pictures, in pixels."""

KERNELS, PADDINGS = (3, 3, 4), (1, 0, 0)
"""Of the course's three convolutions. Further ones have 3 x 3 and a padding of 1: the map is too small for less."""

COURSE_INPUT = InputSpec(height=SIDE, width=SIDE, channels=3, color="rgb")

COURSE_CROP = CropSpec(align="none", framings={DEFAULT_FRAMING: Framing(margin=1.0), "haar": Framing(margin=1.0)})
"""The course cuts the cascade's box as it is."""

MODULE_HINT = "name the code of the network instead, with module = my_net/classify.py:makeEmotionNet"


@dataclass(frozen=True)
class EmotionNetShape:
    """The sizes of an `EmotionNet`. The defaults are the course's.

    Attributes:
        classes: outputs of the last layer.
        channels: of the picture, 1 or 3.
        size: height and width of the picture in pixels.
        widths: channels after each convolution.
        kernels: side of each convolution's kernel.
        paddings: of each convolution.
        hidden: outputs of each linear layer but the last.
        batch_norm: normalize after each convolution, before pooling and LeakyReLU.
        attention: squeeze-excitation after each convolution's LeakyReLU.
        dropout: share of values dropped before the last layer, in training.
        levels: bring each picture to the same mean and contrast first.
    """

    classes: int = 3
    channels: int = 3
    size: tuple[int, int] = (SIDE, SIDE)
    widths: tuple[int, ...] = (64, 128, 256)
    kernels: tuple[int, ...] = KERNELS
    paddings: tuple[int, ...] = PADDINGS
    hidden: tuple[int, ...] = (256, 64)
    batch_norm: bool = False
    attention: bool = False
    dropout: float = 0.0
    levels: bool = False

    @property
    def map_size(self) -> tuple[int, int]:
        """Height and width of the last convolution's map, after pooling; 0 or less where nothing is left."""
        sides = list(self.size)
        for kernel, padding in zip(self.kernels, self.paddings, strict=True):
            sides = [(side + 2 * padding - kernel + 1) // 2 for side in sides]
        return sides[0], sides[1]


def course_kernels(depth: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Kernels and paddings of `depth` convolutions: the course's, then 3 x 3 with a padding of 1."""
    more = max(depth - len(KERNELS), 0)
    return (KERNELS + (3,) * more)[:depth], (PADDINGS + (1,) * more)[:depth]


class EmotionNet(nn.Module):
    """Convolutions with max-pooling and LeakyReLU, then linear layers with LeakyReLU.

    It takes float `[N, channels, *size]` in -1..1 and gives logits `[N, classes]`. Layers have the names of the
    students' `face_expression.pth`: `conv1`, `conv2`, ..., `fc1`, ..., and `bnorm1`, ... where there is batch
    normalization.

    Raises:
        TrainingError: the picture is too small for so many convolutions.
    """

    def __init__(self, classes: int = 3, shape: EmotionNetShape | None = None) -> None:
        super().__init__()
        self.shape = shape = shape or EmotionNetShape(classes)
        if min(shape.map_size) < 1:
            raise TrainingError(
                f"network si100b: a picture of {shape.size[0]} x {shape.size[1]} is too small for "
                f"{len(shape.widths)} convolutions with pooling; expected fewer convolutions or a larger picture"
            )
        self.levels = ImageNormalization() if shape.levels else nn.Identity()
        for number, (before, after, kernel, padding) in enumerate(
            zip((shape.channels, *shape.widths), shape.widths, shape.kernels, shape.paddings, strict=False), start=1
        ):
            self.add_module(f"conv{number}", nn.Conv2d(before, after, kernel, padding=padding))
            if shape.batch_norm:
                self.add_module(f"bnorm{number}", nn.BatchNorm2d(after))
            if shape.attention:
                self.add_module(f"se{number}", SqueezeExcitation(after))
        flat = shape.widths[-1] * shape.map_size[0] * shape.map_size[1]
        for number, (before, after) in enumerate(itertools.pairwise((flat, *shape.hidden, shape.classes)), start=1):
            self.add_module(f"fc{number}", nn.Linear(before, after))

    def forward(self, x: Tensor) -> Tensor:
        x = self.levels(x)
        for number in range(1, len(self.shape.widths) + 1):
            x = self.get_submodule(f"conv{number}")(x)
            if self.shape.batch_norm:
                x = self.get_submodule(f"bnorm{number}")(x)
            x = F.leaky_relu(F.max_pool2d(x, 2))
            if self.shape.attention:
                x = self.get_submodule(f"se{number}")(x)
        x = torch.flatten(x, 1)
        last = len(self.shape.hidden) + 1
        for number in range(1, last):
            x = F.leaky_relu(self.get_submodule(f"fc{number}")(x))
        x = F.dropout(x, self.shape.dropout, self.training)
        return self.get_submodule(f"fc{last}")(x)


def load_emotion_net(path: Path, state: Mapping[str, Tensor]) -> EmotionNet:
    """The course's network with these weights, in the sizes that they have, ready for inference.

    Args:
        path: of the weights, for errors.
        state: layer name -> tensor: `conv1`, ..., `fc1`, ..., and batch normalizations under any name.

    Raises:
        TrainingError: the weights are not those of such a network; the first difference is named.
    """
    check_finite(state, path)
    renamed = with_our_names(path, state)
    network = EmotionNet(shape=emotion_net_shape(path, renamed))
    load_checked(network, renamed, path, "network si100b", MODULE_HINT)
    return network.eval()


def emotion_net_shape(path: Path, state: Mapping[str, Tensor]) -> EmotionNetShape:
    """The sizes of the network that `state` belongs to; `path` is for errors.

    The picture is the course's, 48 x 48. A state dict does not hold paddings: the course's are taken where they lead
    to the size of the first linear layer, else the only ones that do.

    Raises:
        TrainingError: see `load_emotion_net`.
    """
    convolutions, linears = _numbered(state, "conv"), _numbered(state, "fc")
    for name, layers in (("conv1.weight", convolutions), ("fc1.weight", linears)):
        if not layers:
            raise TrainingError(
                f"{path}: these are not weights of network si100b: expected layer {name!r}, found "
                f"{', '.join(map(repr, list(state)[:4]))}; {MODULE_HINT}"
            )
    for number, weight in enumerate(convolutions, start=1):
        before = convolutions[number - 2].shape[0] if number > 1 else weight.shape[1]
        square = weight.ndim == 4 and weight.shape[2] == weight.shape[3]
        if not square or weight.shape[1] != before or (number == 1 and before not in (1, 3)):
            raise TrainingError(
                f"{path}: these are not weights of network si100b: layer 'conv{number}.weight': expected shape (_, "
                f"{before if number > 1 else '1 or 3'}, k, k), found {tuple(weight.shape)}; {MODULE_HINT}"
            )
    kernels = tuple(int(w.shape[2]) for w in convolutions)
    shape = EmotionNetShape(
        classes=int(linears[-1].shape[0]),
        channels=int(convolutions[0].shape[1]),
        widths=tuple(int(w.shape[0]) for w in convolutions),
        kernels=kernels,
        paddings=course_kernels(len(kernels))[1],
        hidden=tuple(int(w.shape[0]) for w in linears[:-1]),
        batch_norm=any(name.endswith("running_mean") for name in state),
        attention=any(name.startswith("se1.") for name in state),
    )
    return replace(shape, paddings=_paddings(path, shape, int(linears[0].shape[1])))


def _paddings(path: Path, shape: EmotionNetShape, flat: int) -> tuple[int, ...]:
    fitting: list[tuple[int, ...]] = []
    choices = itertools.product(*[sorted({0, kernel // 2}, reverse=True) for kernel in shape.kernels])
    for paddings in (shape.paddings, *choices):
        height, width = replace(shape, paddings=paddings).map_size
        if min(height, width) > 0 and shape.widths[-1] * height * width == flat:
            fitting.append(paddings)
    if fitting and (fitting[0] == shape.paddings or len(set(fitting)) == 1):
        return fitting[0]
    raise TrainingError(
        f"{path}: these are not weights of network si100b: layer 'fc1.weight' takes {flat} values, and convolutions "
        f"of {shape.widths} channels with kernels {shape.kernels} on {SIDE} x {SIDE} pixels give "
        f"{'as many in several ways' if fitting else 'another number'}; {MODULE_HINT}"
    )


def _numbered(state: Mapping[str, Tensor], kind: str) -> list[Tensor]:
    """Weights of `kind`1, `kind`2, ... as far as they go."""
    found: list[Tensor] = []
    while (name := f"{kind}{len(found) + 1}.weight") in state:
        found.append(state[name])
    return found


def with_our_names(path: Path, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict with our names: batch normalizations, `bn1` or `norm_1`, become `bnorm1` in their order."""
    owners = [name.removesuffix(".running_mean") for name in state if name.endswith(".running_mean")]
    if not owners:
        return dict(state)
    convolutions = _numbered(state, "conv")
    sizes = [int(state[f"{owner}.running_mean"].shape[0]) for owner in owners]
    if sizes != [int(weight.shape[0]) for weight in convolutions]:
        raise TrainingError(
            f"{path}: these are not weights of network si100b: expected a batch normalization after each of "
            f"{len(convolutions)} convolutions or after none, found {', '.join(owners)} of {sizes} channels; "
            f"{MODULE_HINT}"
        )
    names = {owner: f"bnorm{number}" for number, owner in enumerate(owners, start=1)}
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        owner, _, part = name.rpartition(".")
        renamed[f"{names[owner]}.{part}" if owner in names else name] = tensor
    return renamed


def doubts(network: EmotionNet) -> list[str]:
    """What the weights do not say about their network, and how it was taken, for people."""
    shape, notes = network.shape, list[str]()
    if shape.paddings != course_kernels(len(shape.widths))[1]:
        notes.append(f"paddings {', '.join(map(str, shape.paddings))} (the only ones that fit)")
    scales = [m.weight for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    if any(bool((scale < 0).any()) for scale in scales):
        notes.append(f"batch normalization stands before pooling; if it stands after, {MODULE_HINT}")
    return notes


def is_emotion_net(names: Sequence[str]) -> bool:
    """Whether layers of these names may be the course's network."""
    return "conv1.weight" in names and any(re.fullmatch(r"fc\d+\.weight", name) for name in names)
