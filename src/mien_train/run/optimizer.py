"""How the weights move: the optimizer and its learning rate over a run."""

from __future__ import annotations

import math

import torch
from torch import nn

from mien_train.recipe import Recipe


def make_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD with Nesterov's momentum, or AdamW (arXiv 1711.05101); biases and normalizations do not decay."""
    decayed = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, recipe.learning_rate, betas=(recipe.momentum, 0.999))
    fused = all(p.is_cuda for p in network.parameters())
    return torch.optim.SGD(groups, recipe.learning_rate, recipe.momentum, nesterov=recipe.momentum > 0, fused=fused)


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """The rate at `step` (from 0) of a run of `recipe.epochs` epochs of `steps`: linear warm-up, then a cosine to 0."""
    # Not torch's schedulers: they make each rate from the one before, so that the last digits differ, and their state
    # would have to stand in every checkpoint. This is a function of the step alone.
    warmup, total = recipe.warmup_epochs * steps, recipe.epochs * steps
    if step < warmup:
        return recipe.learning_rate * (step + 1) / warmup
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(total - warmup, 1)))
