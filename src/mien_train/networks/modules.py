"""Modules that several networks share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FLAT = 0.02
"""A standard deviation of few grey levels (of -1..1): less is noise that should not be blown up."""


class Levels(nn.Module):
    """Each picture with mean 0 and standard deviation 0.5, whatever the light; a flat one stays flat."""

    def forward(self, x: Tensor) -> Tensor:
        x = x.float()
        centred = x - x.mean(dim=(1, 2, 3), keepdim=True)
        deviation = centred.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
        return 0.5 * centred / (deviation + FLAT)


class SqueezeExcitation(nn.Module):
    """Each channel is scaled by what all channels say of the whole picture (arXiv 1709.01507)."""

    def __init__(self, channels: int, reduction: int = 8) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // reduction)
        self.excite = nn.Linear(channels // reduction, channels)

    def forward(self, x: Tensor) -> Tensor:
        scale = torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean(dim=(2, 3))))))
        return x * scale[:, :, None, None]
