"""Modules that several networks share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FLAT = 0.02
"""A standard deviation of few gray levels (of -1..1): less is noise that should not be blown up."""


class ImageNormalization(nn.Module):
    """Each picture with mean 0 and standard deviation 0.5, whatever the light; a flat one stays flat."""

    def forward(self, x: Tensor) -> Tensor:
        x = x.float()
        centered = x - x.mean(dim=(1, 2, 3), keepdim=True)
        deviation = centered.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
        return 0.5 * centered / (deviation + FLAT)


class SqueezeExcitation(nn.Module):
    """Each channel is scaled by what all channels say of the whole picture (arXiv 1709.01507)."""

    def __init__(self, channels: int, reduction: int = 8) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, max(channels // reduction, 1))
        self.excite = nn.Linear(max(channels // reduction, 1), channels)

    def forward(self, x: Tensor) -> Tensor:
        scale = torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean(dim=(2, 3))))))
        return x * scale[:, :, None, None]


class Rescaled(nn.Module):
    """A user's network, given pictures as its own code gives them: scaled so, and laid out as `[N, C, H, W]`.

    Pictures in -1..1 come in. Their memory may be laid out by channel last, for which `x.view(len(x), -1)` fails.
    """

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.scaled = any(abs(value - 0.5) > 1e-9 for value in (*mean, *std))
        center, spread = torch.tensor(mean).view(1, -1, 1, 1), torch.tensor(std).view(1, -1, 1, 1)
        # x in -1..1 is the pixel 0.5 x + 0.5, and the network wants (pixel - mean) / std.
        self.register_buffer("scale", 0.5 / spread, persistent=False)
        self.register_buffer("offset", (0.5 - center) / spread, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = x.clone(memory_format=torch.contiguous_format)
        return self.network(x * self.get_buffer("scale") + self.get_buffer("offset") if self.scaled else x)
