"""A residual network -> the state of a narrower one: of each stage and of each block, the channels that count most.

A stage's blocks pass the same channels on, so one choice holds for all of them; a block's inner channels are its own.
A channel counts by how strong it is on pictures and by the size of the weights that read it (arXiv 1608.08710).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate

import torch
from torch import Tensor, nn

from mien_train.networks.resnet import ResidualBlock, ResNet, SqueezeExcitation
from mien_train.recipe import NetworkRecipe


def fits_into(small: NetworkRecipe, whole: NetworkRecipe) -> bool:
    """Whether `small` is `whole` with fewer channels or blocks, or without its attention."""
    return (
        small.name == whole.name == "resnet"
        and small.stem == whole.stem
        and small.attention in ("none", whole.attention)
        and len(small.widths) == len(whole.widths)
        and all(a <= b for a, b in zip(small.widths + small.blocks, whole.widths + whole.blocks, strict=True))
        and small.inner <= whole.inner
    )


@torch.no_grad()
def narrowed(whole: nn.Module, small: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """The state for `small`: of `whole`, the channels that count most, and of each stage the first blocks.

    Args:
        whole: the network to take from.
        small: `fits_into` it; a head of other outputs stays as it is there.
        images: float `[N, C, H, W]`, normalized: pictures to judge the channels by.
    """
    assert isinstance(whole, ResNet)
    assert isinstance(small, ResNet)
    seen = _look(whole, images)
    state = small.state_dict()
    kept = _stage_channels(whole, small, seen)
    _copy(state, "stem.0.weight", whole.stem.get_parameter("0.weight")[kept[0]])
    _copy_norm(state, "stem.1", whole.stem[1], kept[0])
    place = 0
    for stage, (has, takes) in enumerate(zip(_by_stage(whole), _by_stage(small), strict=True)):
        for number, (block, room) in enumerate(zip(has, takes, strict=False)):
            channels = kept[max(stage - (number == 0), 0)], kept[stage]
            _copy_block(state, f"stages.{place}", block, room, channels, seen)
            place += 1
    if len(whole.head.weight) == len(small.head.weight):
        _copy(state, "head.weight", whole.head.weight[:, kept[-1]])
        _copy(state, "head.bias", whole.head.bias)
    return state


@dataclass
class _ChannelStatistics:
    """What pictures do in a network: mean size of each channel after a module, and mean factor of each attention."""

    strength: dict[nn.Module, Tensor] = field(default_factory=dict)
    factor: dict[nn.Module, Tensor] = field(default_factory=dict)


def _look(network: ResNet, images: Tensor) -> _ChannelStatistics:
    seen = _ChannelStatistics()

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        strength = output.abs().mean(dim=(0, 2, 3))
        if isinstance(module, SqueezeExcitation):
            seen.factor[module] = strength / inputs[0].abs().mean(dim=(0, 2, 3)).clamp_min(1e-12)
        else:
            seen.strength[module] = strength

    watched = [m for m in network.modules() if isinstance(m, (ResidualBlock, SqueezeExcitation, nn.BatchNorm2d))]
    hooks = [module.register_forward_hook(note) for module in watched]
    network.eval()(images)
    for hook in hooks:
        hook.remove()
    return seen


def _stage_channels(whole: ResNet, small: ResNet, seen: _ChannelStatistics) -> list[Tensor]:
    """Which channels each stage of `small` keeps, in order."""
    counts = [torch.zeros(width) for width in whole.recipe.widths]
    strengths = list(counts)
    for stage, blocks in enumerate(_by_stage(whole)):
        for number, block in enumerate(blocks):
            counts[max(stage - (number == 0), 0)] += _read(block.conv1)
            strengths[stage] = seen.strength[block]
        if stage:
            counts[stage - 1] += _read(blocks[0].shortcut.get_submodule("1"))
    counts[-1] += whole.head.weight.abs().sum(0)
    return [_most(c * s, width) for c, s, width in zip(counts, strengths, small.recipe.widths, strict=True)]


def _by_stage(network: ResNet) -> list[list[ResidualBlock]]:
    blocks = [block for block in network.stages if isinstance(block, ResidualBlock)]
    ends = list(accumulate(network.recipe.blocks))
    return [blocks[end - count : end] for end, count in zip(ends, network.recipe.blocks, strict=True)]


def _read(convolution: nn.Module) -> Tensor:
    """How large the weights are that read each channel."""
    return convolution.get_parameter("weight").abs().sum(dim=(0, 2, 3))


def _most(counts: Tensor, room: int) -> Tensor:
    return counts.topk(room).indices.sort().values


def _copy_block(
    state: dict[str, Tensor], name: str, block: ResidualBlock, small: ResidualBlock, kept: tuple[Tensor, Tensor],
    seen: _ChannelStatistics,
) -> None:  # fmt: skip
    into, out = kept
    # Scale after the normalization (arXiv 1708.06519) x size of the weights that read the channel.
    inner = _most(block.norm1.weight.abs() * _read(block.conv2), len(small.conv1.weight))
    _copy(state, f"{name}.conv1.weight", block.conv1.weight[inner][:, into])
    _copy_norm(state, f"{name}.norm1", block.norm1, inner)
    _copy(state, f"{name}.conv2.weight", block.conv2.weight[out][:, inner])
    _copy_norm(state, f"{name}.norm2", block.norm2, out)
    if isinstance(block.attention, SqueezeExcitation):
        if isinstance(small.attention, SqueezeExcitation):
            _copy_attention(state, f"{name}.attention", block.attention, small.attention, out)
        else:  # without it, its average stays
            for part in ("weight", "bias"):
                state[f"{name}.norm2.{part}"] *= seen.factor[block.attention][out]
    if not isinstance(block.shortcut, nn.Identity):
        _copy(state, f"{name}.shortcut.1.weight", block.shortcut.get_parameter("1.weight")[out][:, into])
        _copy_norm(state, f"{name}.shortcut.2", block.shortcut.get_submodule("2"), out)


def _copy_attention(
    state: dict[str, Tensor], name: str, whole: SqueezeExcitation, small: SqueezeExcitation, kept: Tensor
) -> None:
    units = _most(whole.excite.weight.abs().sum(0), len(small.squeeze.weight))
    _copy(state, f"{name}.squeeze.weight", whole.squeeze.weight[units][:, kept])
    _copy(state, f"{name}.squeeze.bias", whole.squeeze.bias[units])
    _copy(state, f"{name}.excite.weight", whole.excite.weight[kept][:, units])
    _copy(state, f"{name}.excite.bias", whole.excite.bias[kept])


def _copy_norm(state: dict[str, Tensor], name: str, norm: nn.Module, kept: Tensor) -> None:
    for part in ("weight", "bias", "running_mean", "running_var"):
        _copy(state, f"{name}.{part}", norm.state_dict()[part][kept])


def _copy(state: dict[str, Tensor], name: str, tensor: Tensor) -> None:
    state[name] = tensor.detach().clone()
