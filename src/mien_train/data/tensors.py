"""Pictures -> what a network takes -> what it answers."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from mien.model.manifest import InputSpec
from mien_train.recipe import Recipe

EVALUATION_BATCH = 128


def input_spec(recipe: Recipe) -> InputSpec:
    """The input tensor of a network trained by `recipe`."""
    channels = 1 if recipe.color == "gray" else 3
    return InputSpec(height=recipe.size, width=recipe.size, channels=channels, color=recipe.color)


def output_columns(recipe: Recipe, classes: int) -> int:
    """Columns of the network's output: the classes and, with `votes_weight`, as many more that learn the votes."""
    return classes * 2 if recipe.votes_weight else classes


def to_tensor(images: np.ndarray) -> Tensor:
    """uint8 `[N, H, W, C]` -> float `[N, C, H, W]`, 0..1."""
    return as_floats(torch.from_numpy(np.array(images)))


def as_floats(images: Tensor) -> Tensor:
    """`to_tensor` of what is a tensor already."""
    return images.permute(0, 3, 1, 2).float() / 255


def normalize(images: Tensor) -> Tensor:
    """float 0..1 -> -1..1, as every network here expects (the course's `(x - 0.5) / 0.5`)."""
    return images * 2 - 1


def resolve_precision(wanted: str, device: torch.device | None = None) -> str:
    """`auto` -> bf16 where the processor multiplies in it, else fp32: emulated bf16 is ten times slower than fp32."""
    if wanted != "auto":
        return wanted
    if device is not None and device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    abilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return "bf16" if abilities.get("avx512_bf16") or abilities.get("amx_bf16") else "fp32"


@torch.inference_mode()
def predict_logits(network: nn.Module, images: np.ndarray, precision: str) -> Tensor:
    """All output columns, float `[N, columns]`, of uint8 `[N, H, W, C]`; the first K are the classes' logits."""
    network.eval()
    device = next(network.parameters()).device
    out: list[Tensor] = []
    for start in range(0, len(images), EVALUATION_BATCH):
        batch = normalize(to_tensor(images[start : start + EVALUATION_BATCH])).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            out.append(network(batch).float().cpu())
    return torch.cat(out)
