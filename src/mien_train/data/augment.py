"""Augmentation of whole batches as tensor operations, on whatever device they are, so that it keeps up with training.

What is drawn for each picture comes from the generator that is passed in, which lives on the processor. Only noise,
which is as large as the pictures, is drawn where they are. The same seeds give the same pictures.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from mien_train.recipe import AugmentRecipe, Recipe

QUANTIZATION = torch.tensor(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    dtype=torch.float32,
)
"""JPEG's luminance steps at quality 50 (ITU-T T.81, table K.1)."""

_ANGLES = np.pi / 16 * np.arange(8)[:, None] * (2 * np.arange(8) + 1)
_LENGTHS = np.sqrt(np.where(np.arange(8) == 0, 1 / 8, 2 / 8))[:, None]

COSINES = torch.from_numpy((_LENGTHS * np.cos(_ANGLES)).astype(np.float32))
"""The orthonormal discrete cosine transform of 8 values, `[8, 8]`: frequency by position."""


def augment(x: Tensor, recipe: AugmentRecipe, generator: Generator, views: Tensor | None = None) -> Tensor:
    """Randomly change every picture of a batch.

    Args:
        x: float `[N, C, H, W]`, 0..1.
        recipe: what to do and how strongly.
        generator: source of all randomness.
        views: `[N, 4]`, the square of each picture to begin with, as in `mien_train.data.detected_views`;
            zeros: the whole picture.

    Returns:
        float `[N, C, H, W]`, 0..1.
    """
    x = _move(x, recipe, generator, views)
    x = _on_share(x, recipe.low_res_share, generator, _low_resolution)
    x = _on_share(x, recipe.blur_share, generator, partial(_blur, strongest=recipe.blur_sigma))
    x = _light(x, recipe, generator)
    if recipe.jpeg_share:
        x = _on_share(x.clamp(0, 1), recipe.jpeg_share, generator, _jpeg)
    return _erase(x, recipe.erase_share, generator).clamp_(0, 1)


def mix(
    x: Tensor, targets: tuple[Tensor, ...], recipe: Recipe, generator: Generator
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Mix a batch with itself as the recipe says: mixup, cutmix, or one of the two by a throw of a coin."""
    cut = recipe.cutmix > 0
    if cut and recipe.mixup:
        cut = bool(torch.rand((), generator=generator) < 0.5)
    return (cutmix if cut else mixup)(x, targets, recipe.cutmix if cut else recipe.mixup, generator)


def shrink(x: Tensor, size: int) -> Tensor:
    """Pictures `[N, C, H, W]` at `size` x `size`, smoothed as far as the lower resolution needs it."""
    if x.shape[-1] == size:
        return x
    return F.interpolate(x, (size, size), mode="bilinear", align_corners=False, antialias=True)


def sides(recipe: Recipe) -> list[int]:
    """The sides that training pictures have, smallest first: from `start_size` to `size` in steps of 8 px."""
    return [*range(recipe.start_size or recipe.size, recipe.size, 8), recipe.size]


def side_at(recipe: Recipe, epoch: int) -> int:
    """Side of the training pictures in an epoch (from 0).

    Each of the smaller `sides` lasts as many epochs; the full size comes at `full_size_from` (progressive resizing, as
    in EfficientNetV2, arXiv 2104.00298).
    """
    *smaller, _ = sides(recipe)
    grown = epoch / (recipe.epochs * recipe.full_size_from)
    return recipe.size if grown >= 1 or not smaller else smaller[int(grown * len(smaller))]


def mixup(
    x: Tensor, targets: tuple[Tensor, ...], strength: float, generator: Generator
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Blend a batch, and all that is known of it, with itself in another order (mixup, arXiv 1710.09412).

    Args:
        x: float `[N, C, H, W]`.
        targets: tensors `[N, ...]`, blended alike.
        strength: both parameters of the Beta distribution that one share a batch is drawn from; 0 changes nothing.
        generator: source of all randomness.
    """
    if not strength:
        return x, targets
    share = _beta(strength, generator)
    order = torch.randperm(len(x), generator=generator).to(x.device, non_blocking=True)
    return x.lerp(x[order], share), tuple(t.lerp(t[order], share) for t in targets)


def cutmix(
    x: Tensor, targets: tuple[Tensor, ...], strength: float, generator: Generator
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Paste a rectangle of each picture into another; targets are blended by area (CutMix, arXiv 1905.04899).

    Args:
        x: float `[N, C, H, W]`.
        targets: tensors `[N, ...]`.
        strength: as in `mixup`; the share is the rectangle's area, which is at one place for the whole batch.
        generator: source of all randomness.
    """
    if not strength:
        return x, targets
    side = math.sqrt(_beta(strength, generator))
    order = torch.randperm(len(x), generator=generator).to(x.device, non_blocking=True)
    (top, bottom), (left, right) = (_stretch(length, side, generator) for length in x.shape[-2:])
    x = x.clone()
    x[:, :, top:bottom, left:right] = x[order, :, top:bottom, left:right]
    share = (bottom - top) * (right - left) / (x.shape[-2] * x.shape[-1])
    return x, tuple(t.lerp(t[order], share) for t in targets)


def _beta(strength: float, generator: Generator) -> float:
    seed = int(torch.randint(2**31, (), generator=generator))  # torch's Beta takes no generator
    return float(np.random.default_rng(seed).beta(strength, strength))


def _stretch(length: int, share: float, generator: Generator) -> tuple[int, int]:
    """From where to where a stretch of this share goes whose middle lies anywhere on 0..length."""
    middle = float(torch.rand((), generator=generator)) * length
    return max(round(middle - share * length / 2), 0), min(round(middle + share * length / 2), length)


def _spread(x: Tensor, limit: float, generator: Generator) -> Tensor:
    """One number in -limit..limit for each picture, `[N]`."""
    return (torch.rand(len(x), generator=generator) * 2 - 1) * limit


def _move(x: Tensor, recipe: AugmentRecipe, generator: Generator, views: Tensor | None) -> Tensor:
    """Rotation, scale, stretch, shear, shift and mirroring in one resampling, on top of the views.

    Outside the picture its border is repeated. With views, half of the batches have its mean gray there instead: so far
    out lies what a data set of crops does not show.
    """
    angle = _spread(x, math.radians(recipe.rotate_deg), generator)
    scale = torch.exp(_spread(x, math.log1p(recipe.scale), generator))
    mirror = torch.where(torch.rand(len(x), generator=generator) < (0.5 if recipe.flip else 0.0), -1.0, 1.0)
    shift = torch.stack([_spread(x, recipe.shift, generator) for _ in "xy"], dim=1)
    turn = _turn(angle, scale)
    if recipe.stretch:  # drawn where it is asked for alone: older recipes draw what they drew
        turn[:, :, 0] *= torch.exp(_spread(x, math.log1p(recipe.stretch), generator))[:, None]
    if recipe.shear:
        turn[:, :, 1] += turn[:, :, 0] * _spread(x, recipe.shear, generator)[:, None]
    turn[:, :, 0] *= mirror[:, None]
    if views is not None:
        outer = _turn(views[:, 3], views[:, 2].exp())
        turn, shift = outer @ turn, views[:, :2] + (outer @ shift[:, :, None])[:, :, 0]
    matrix = torch.cat([turn, 2 * shift[:, :, None]], dim=2).to(x.device, non_blocking=True)  # affine_grid spans -1..1
    grid = F.affine_grid(matrix, list(x.shape), align_corners=False)
    if views is not None and torch.rand((), generator=generator) < 0.5:
        gray = x.mean(dim=(1, 2, 3), keepdim=True)
        return F.grid_sample(x - gray, grid, padding_mode="zeros", align_corners=False) + gray
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def _turn(angle: Tensor, scale: Tensor) -> Tensor:
    """Rotation times scale, `[N, 2, 2]`."""
    cos, sin = scale * angle.cos(), scale * angle.sin()
    return torch.stack([torch.stack([cos, -sin], dim=1), torch.stack([sin, cos], dim=1)], dim=1)


def _on_share(x: Tensor, share: float, generator: Generator, change: Callable[[Tensor, Generator], Tensor]) -> Tensor:
    """Apply `change(pictures, generator)` to a random share of the batch."""
    chosen = torch.nonzero(torch.rand(len(x), generator=generator) < share).flatten()
    if len(chosen):
        chosen = chosen.to(x.device, non_blocking=True)
        x = x.clone()
        x[chosen] = change(x[chosen], generator)
    return x


def _low_resolution(x: Tensor, generator: Generator) -> Tensor:
    size = x.shape[-1]
    small = int(torch.randint(size // 3, max(size * 3 // 4, size // 3 + 1), (), generator=generator))
    return F.interpolate(
        F.interpolate(x, (small, small), mode="area"), x.shape[-2:], mode="bilinear", align_corners=False
    )


def _blur(x: Tensor, generator: Generator, strongest: float) -> Tensor:
    sigma = 0.5 + (strongest - 0.5) * float(torch.rand((), generator=generator))
    reach = min(math.ceil(2 * strongest), x.shape[-1] - 1)
    offsets = torch.arange(-float(reach), reach + 1)
    kernel = torch.exp(-(offsets**2) / (2 * sigma**2)).to(x.device, non_blocking=True)
    kernel = (kernel / kernel.sum()).expand(x.shape[1], 1, 1, -1)
    padded = F.pad(x, (reach, reach, reach, reach), mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel, groups=x.shape[1]), kernel.transpose(2, 3), groups=x.shape[1])


def _jpeg(x: Tensor, generator: Generator) -> Tensor:
    """What JPEG at qualities of 5 to 60 leaves of each channel (ITU-T T.81, its luminance table, libjpeg's scaling)."""
    count, channels, height, width = x.shape
    quality = 5 + 55 * torch.rand(count, generator=generator)
    scale = torch.where(quality < 50, 50 / quality, 2 - quality / 50).view(-1, 1, 1, 1, 1, 1)
    steps = (QUANTIZATION * scale).round().clamp(1, 255).to(x.device, non_blocking=True)
    cosines = COSINES.to(x.device, non_blocking=True)
    blocks = x.reshape(count, channels, height // 8, 8, width // 8, 8).transpose(3, 4) * 255 - 128
    rounded = (cosines @ blocks @ cosines.T / steps).round() * steps
    back = (cosines.T @ rounded @ cosines + 128) / 255
    return back.transpose(3, 4).reshape(x.shape)


def _light(x: Tensor, recipe: AugmentRecipe, generator: Generator) -> Tensor:
    """Contrast about the picture's mean, brightness, then sensor noise."""
    each = (-1, 1, 1, 1)
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    contrast = 1 + _spread(x, recipe.contrast, generator).view(each).to(x.device, non_blocking=True)
    x = (
        (x - mean) * contrast
        + mean
        + _spread(x, recipe.brightness, generator).view(each).to(x.device, non_blocking=True)
    )
    if recipe.noise:
        strength = _spread(x, recipe.noise, generator)
        if recipe.noise_share < 1:
            strength = strength * (torch.rand(len(x), generator=generator) < recipe.noise_share)
        grain = torch.randn(x.shape, device=x.device, generator=generator if x.device == generator.device else None)
        x = x + grain * strength.view(each).to(x.device, non_blocking=True)
    return x


def _erase(x: Tensor, share: float, generator: Generator) -> Tensor:
    """Blank one rectangle of 2-25 % of the area with a flat gray (random erasing, arXiv 1708.04896)."""
    count, _, height, width = x.shape
    area = torch.empty(count).uniform_(0.02, 0.25, generator=generator)
    aspect = torch.exp(_spread(x, math.log(2.5), generator))
    chosen = torch.rand(count, generator=generator) < share
    half_h = (area * aspect).sqrt() * height / 2
    half_w = (area / aspect).sqrt() * width / 2
    center_y = torch.rand(count, generator=generator) * height
    center_x = torch.rand(count, generator=generator) * width
    rows = (torch.arange(height)[None] + 0.5 - center_y[:, None]).abs() < half_h[:, None]
    columns = (torch.arange(width)[None] + 0.5 - center_x[:, None]).abs() < half_w[:, None]
    mask = (rows[:, None, :, None] & columns[:, None, None, :]) & chosen.view(-1, 1, 1, 1)
    gray = torch.rand(count, 1, 1, 1, generator=generator)
    return torch.where(mask.to(x.device, non_blocking=True), gray.to(x.device, non_blocking=True), x)
