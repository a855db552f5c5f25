"""The networks. Each takes float `[N, C, H, W]` in -1..1 and gives logits `[N, K]`."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien.errors import TrainingError
from mien_train.networks.custom_module import make_custom_network
from mien_train.networks.emotion_net import EmotionNet, EmotionNetShape, course_kernels
from mien_train.networks.modules import ImageNormalization, Rescaled, SqueezeExcitation
from mien_train.recipe import NetworkRecipe

STEMS = {"full": (3, 1, 1), "pool": (3, 1, 1), "wide": (5, 1, 2), "stride": (4, 2, 1)}
"""Kernel, stride and padding of the first convolution."""


def build_network(recipe: NetworkRecipe, channels: int, classes: int, size: int) -> nn.Module:
    """The network that a recipe names, with fresh weights from torch's global generator.

    Raises:
        TrainingError: the network cannot take this input.
    """
    if recipe.name == "module":
        return _custom_network(recipe, channels, classes, size)
    if recipe.name == "si100b":
        kernels, paddings = course_kernels(len(recipe.widths))
        return EmotionNet(
            shape=EmotionNetShape(
                classes,
                channels,
                (size, size),
                recipe.widths,
                recipe.kernels or kernels,
                paddings,
                recipe.hidden or (),
                recipe.batch_norm,
                recipe.attention == "se",
                recipe.dropout,
                recipe.levels == "picture",
            )
        )
    if len(recipe.widths) != len(recipe.blocks):
        raise TrainingError(
            f"network.widths has {len(recipe.widths)} stages and network.blocks {len(recipe.blocks)}; give one "
            "of each a stage"
        )
    return ResNet(channels, classes, recipe)


def _custom_network(recipe: NetworkRecipe, channels: int, classes: int, size: int) -> nn.Module:
    network = make_custom_network(recipe.module, classes)
    mean, std = (values * channels if len(values) == 1 else values for values in (recipe.mean, recipe.std))
    rescaled = Rescaled(network, mean, std).eval()
    try:
        with torch.no_grad():
            shape = list(rescaled(torch.zeros(2, channels, size, size)).shape)
    except Exception as error:  # the user's own code runs here
        raise TrainingError(
            f"{recipe.module}: its network cannot take 2 pictures of {channels} x {size} x {size} ({error})"
        ) from error
    if shape != [2, classes]:
        raise TrainingError(
            f"{recipe.module}: expected its network to answer 2 pictures with [2, {classes}], one number a class, "
            f"found {shape}"
        )
    return rescaled


def inner_width(width: int, share: float) -> int:
    """Channels inside a block of `width`; a share is rounded to 8, as processors multiply that many at a time."""
    return width if share == 1 else min(width, max(8, 8 * round(width * share / 8)))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (arXiv 1512.03385; average-pooled as in ResNet-D, 1812.01187)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, inner: int, attention: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, inner, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, out_channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.attention = SqueezeExcitation(out_channels) if attention else nn.Identity()
        self.shortcut = nn.Identity()
        if stride > 1 or in_channels != out_channels:
            # An odd side is halved upwards, as the convolution's is.
            pool = nn.AvgPool2d(stride, stride, ceil_mode=True) if stride > 1 else nn.Identity()
            self.shortcut = nn.Sequential(
                pool, nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        return F.relu(self.attention(self.norm2(self.conv2(y))) + self.shortcut(x), inplace=True)


class ResNet(nn.Module):
    """A plain residual network for small pictures, with the modules that its recipe chooses."""

    def __init__(self, channels: int, classes: int, recipe: NetworkRecipe) -> None:
        super().__init__()
        self.recipe = recipe
        widths, blocks = recipe.widths, recipe.blocks
        kernel, stride, padding = STEMS[recipe.stem]
        stem: list[nn.Module] = [
            nn.Conv2d(channels, widths[0], kernel, stride, padding, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
        ]
        pools = {"pool": [nn.MaxPool2d(2)], "wide": [nn.MaxPool2d(3, 2, 1)]}
        self.levels = ImageNormalization() if recipe.levels == "picture" else nn.Identity()
        self.stem = nn.Sequential(*stem, *pools.get(recipe.stem, []))
        layers: list[nn.Module] = []
        width_in = widths[0]
        for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            inner = inner_width(width, recipe.inner)
            for block in range(count):
                stride = 2 if stage and not block else 1
                layers.append(ResidualBlock(width_in, width, stride, inner, recipe.attention == "se"))
                width_in = width
        self.stages = nn.Sequential(*layers)
        self.dropout = nn.Dropout(recipe.dropout)
        self.head = nn.Linear(width_in, classes)

    def forward(self, x: Tensor) -> Tensor:
        features = self.stages(self.stem(self.levels(x))).mean(dim=(2, 3))
        return self.head(self.dropout(features))
