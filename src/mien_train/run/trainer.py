"""One network in training: what happens in a step and in an epoch, and what is kept to go on from."""

from __future__ import annotations

import copy
import logging
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from mien.errors import TrainingError
from mien.progress import Progress
from mien_train.data.augment import augment, mix, shrink, side_at, sides
from mien_train.data.packs import Pack, TrainingData, soft_targets
from mien_train.data.tensors import (
    as_floats,
    input_spec,
    normalize,
    output_columns,
    predict_logits,
    resolve_precision,
    to_tensor,
)
from mien_train.networks.initial import load_initial
from mien_train.networks.resnet import build_network
from mien_train.recipe import Recipe
from mien_train.run.distillation import TeacherPanel
from mien_train.run.folder import CHECKPOINT, Epoch, read_checkpoint, save_state, write_history
from mien_train.run.optimizer import learning_rate, make_optimizer
from mien_train.run.process_group import ProcessGroup, part_of

_log = logging.getLogger("mien")

SETTLE_PICTURES = 1024
"""Pictures that give the statistics of normalizations when a run starts from a bundle."""

GPU_STEPS = 32
"""So many steps a GPU is given at once: to look at each one's loss would have it wait."""

HELD_SHARE = 0.25
"""Of a GPU's free memory, so much may be taken by the pictures."""

KEPT = (
    "the last checkpoint is kept: a new run can start from it, RUN/checkpoint.pt, with a lower learning_rate or "
    "precision = 'fp32'"
)


class Trainer:
    """Network, moving average and optimizer of one run, in one process of a group."""

    def __init__(
        self,
        recipe: Recipe,
        data: TrainingData,
        group: ProcessGroup,
        initial: Path | None = None,
        taught: np.ndarray | TeacherPanel | None = None,
        views: np.ndarray | None = None,
        people: np.ndarray | None = None,
    ) -> None:
        """Build what `recipe` asks for.

        Args:
            recipe: what to do.
            data: the decoded pictures.
            group: who takes part.
            initial: weights to start from: see `load_initial`.
            taught: what the teachers say of each training picture, float `[N, K]`, or teachers to ask about each view.
            views: how a detector frames each training picture: see `mien_train.data.detected_views`.
            people: what stored soft targets say people would choose, float `[N, K]`; a row of zeros where they are
                silent.

        Raises:
            TrainingError: too few pictures for one batch, a batch that does not divide among the group, or pictures too
                small for the network.
        """
        self.recipe, self.data, self.views, self.group = recipe, data, views, group
        self.steps = len(data.train_rows) // recipe.batch_size
        if not self.steps:
            raise TrainingError(_too_few(data, recipe.batch_size))
        if recipe.batch_size % group.size:
            raise TrainingError(
                f"batch_size {recipe.batch_size} does not divide among {group.size} processes; choose a multiple of "
                f"{group.size}"
            )
        self.precision = resolve_precision(recipe.precision, group.device)
        torch.manual_seed(recipe.seed)
        spec = input_spec(recipe)
        network = build_network(
            recipe.network, spec.channels, output_columns(recipe, len(data.train.classes)), recipe.size
        )
        check_sides(network, recipe, spec.channels)
        # A user's own code may count on the plain layout: x.view(len(x), -1).
        layout = torch.contiguous_format if recipe.network.name == "module" else torch.channels_last
        self.network = network.to(group.device, memory_format=layout)  # pyright: ignore[reportCallIssue] - torch's stubs lack it
        if initial:
            load_initial(self.network, initial, normalize(to_tensor(spread_over(data))).to(group.device))
        self.shared = compiled(group.share(self.network)) if recipe.compile else group.share(self.network)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.history: list[Epoch] = []
        self.held = held_on(group.device, data.train.images)
        self.optimizer = make_optimizer(self.network, recipe)
        self.targets = soft_targets(data.train, recipe.label_share, recipe.label_smoothing)
        self.panel = taught if isinstance(taught, TeacherPanel) else None
        if isinstance(taught, np.ndarray):
            self.targets = (1 - recipe.teacher_share) * self.targets + recipe.teacher_share * taught
        self.votes = votes_targets(data.train.votes, people, recipe.votes_teacher_share)
        self.chances = torch.from_numpy(sampling_chances(data.train.labels[data.train_rows], recipe.balance))

    def run_epoch(self, epoch: int, progress: Progress) -> Epoch:
        """Every picture once (or as many, drawn by class); then a look at validation.

        Raises:
            TrainingError: the loss or a weight is not finite.
        """
        started = time.perf_counter()
        # Seeded by epoch, so that a resumed run sees what an uninterrupted one would have seen.
        seed = self.recipe.seed * 1_000_003 + epoch
        generator = Generator().manual_seed(seed)
        self.network.train()
        outcomes: list[Tensor] = []
        rate = 0.0
        every = GPU_STEPS if self.group.device.type == "cuda" else 1
        side = side_at(self.recipe, epoch)
        for step, rows in enumerate(self._batches(generator, seed)):
            rate = self._set_rate(epoch * self.steps + step)
            outcomes.append(self._step(rows, generator, side))
            self._update_average(epoch * self.steps + step)
            if (step + 1) % every == 0 or step + 1 == self.steps:
                self._check(outcomes, step + 1 - every, epoch)
            # Of the run, not of the epoch: its end is what people wait for.
            done, epochs = epoch * self.steps + step + 1, self.recipe.epochs
            progress.update(f"epoch {epoch + 1}/{epochs}", done, epochs * self.steps)
        self._check_weights(epoch)
        train_loss, train_accuracy = self.group.mean(*torch.stack(outcomes).mean(0).tolist())
        validation_loss, accuracy, clean = self._validate() if self.group.first else (0.0, 0.0, 0.0)
        seconds = round(time.perf_counter() - started, 1)
        return Epoch(epoch + 1, rate, train_loss, train_accuracy, validation_loss, accuracy, clean, seconds)

    def _check(self, outcomes: list[Tensor], since: int, epoch: int) -> None:
        first = max(since, 0)
        losses = torch.stack(outcomes[first:])[:, 0].cpu()
        if losses.isfinite().all():
            return
        step = first + int((~losses.isfinite()).nonzero()[0])
        rate = learning_rate(self.recipe, epoch * self.steps + step, self.steps)
        raise TrainingError(
            f"the loss is {outcomes[step][0].item()} at epoch {epoch + 1}, step {step + 1} (learning rate {rate:.4g}); "
            + KEPT
        )

    def _check_weights(self, epoch: int) -> None:
        """The last step's loss says nothing of the weights after it."""
        states = (self.network.state_dict(), self.average.state_dict())
        if not all(t.isfinite().all() for state in states for t in state.values() if t.is_floating_point()):
            raise TrainingError(f"weights are not finite after epoch {epoch + 1}; {KEPT}")

    def _step(self, rows: np.ndarray, generator: Generator, side: int) -> Tensor:
        """One step of the optimizer; `[2]`: loss, and the share of the pictures that the network got right."""
        device = self.group.device
        images = augment(self._pictures(rows), self.recipe.augment, generator, self._views_of(rows, generator))
        known = tuple(torch.from_numpy(a[rows]).to(device, non_blocking=True) for a in (self.targets, self.votes))
        images, (targets, votes) = mix(images, known, self.recipe, generator)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            if self.panel:
                targets = targets.lerp(self.panel.ask(_as_input(images)), self.recipe.teacher_share)
            outputs = self.shared(_as_input(shrink(images, side))).float()
        loss = self._loss(outputs, targets, votes)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.gradient_clip)
        self.optimizer.step()
        right = outputs[:, : targets.shape[1]].argmax(1) == targets.argmax(1)
        return torch.stack([loss.detach(), right.float().mean()])

    def _pictures(self, rows: np.ndarray) -> Tensor:
        """float `[N, C, H, W]`, 0..1, where the network computes."""
        if self.held is None:
            return to_tensor(self.data.train.images[rows]).to(self.group.device, non_blocking=True)
        return as_floats(self.held[torch.from_numpy(rows).to(self.held.device, non_blocking=True)])

    def _loss(self, outputs: Tensor, targets: Tensor, votes: Tensor) -> Tensor:
        """Cross-entropy with the targets, plus that of the columns that learn the votes (0 for rows without)."""
        classes = targets.shape[1]
        loss = self.recipe.label_weight * F.cross_entropy(outputs[:, :classes], targets)
        if self.recipe.votes_weight:
            loss = loss + self.recipe.votes_weight * F.cross_entropy(outputs[:, classes:], votes)
        return loss

    def _batches(self, generator: Generator, seed: int) -> Iterator[np.ndarray]:
        """This process's rows of each batch, sorted: a memory map is read in one direction."""
        size = self.recipe.batch_size
        if self.recipe.balance:
            order = torch.multinomial(self.chances, self.steps * size, replacement=True, generator=generator)
        else:
            order = torch.randperm(len(self.data.train_rows), generator=generator)
        # All draw the same order, and go their own ways from here: augmentation, dropout.
        if not self.group.first:
            generator.manual_seed(seed * self.group.size + self.group.rank)
        torch.manual_seed(seed * self.group.size + self.group.rank)
        for step in range(self.steps):
            chosen = part_of(order[step * size : (step + 1) * size], self.group)
            yield np.sort(self.data.train_rows[chosen.numpy()])

    def _views_of(self, rows: np.ndarray, generator: Generator) -> Tensor | None:
        """The detector's view of a share of these pictures, and the whole picture of the others."""
        if self.views is None:
            return None
        views = torch.from_numpy(self.views[rows])
        seen = torch.rand(len(rows), generator=generator) < self.recipe.detected_share
        return torch.where((seen & views.isfinite().all(dim=1))[:, None], views, 0.0)

    def _set_rate(self, step: int) -> float:
        rate = learning_rate(self.recipe, step, self.steps)
        for part in self.optimizer.param_groups:
            part["lr"] = rate
        return rate

    @torch.no_grad()
    def _update_average(self, step: int) -> None:
        # Not torch's AveragedModel: its first update copies the weights where ours already averages, and its state has
        # other names. Results would change, and checkpoints of earlier runs could not go on.
        decay = min(self.recipe.ema_decay, (1 + step) / (10 + step))  # short memory while the weights still move fast
        kept, new = (list(n.state_dict().values()) for n in (self.average, self.network))
        floats = [i for i, tensor in enumerate(kept) if tensor.is_floating_point()]
        torch._foreach_lerp_([kept[i] for i in floats], [new[i] for i in floats], 1 - decay)  # pyright: ignore[reportPrivateImportUsage] - as torch's own optimizers do
        for i in set(range(len(kept))).difference(floats):
            kept[i].copy_(new[i])

    def _validate(self) -> tuple[float, float, float]:
        pack: Pack = self.data.validation
        logits = predict_logits(self.average, pack.images, self.precision)[:, : len(pack.classes)]
        labels = torch.from_numpy(pack.labels)
        right = logits.argmax(1) == labels
        clean = right[torch.from_numpy(self.data.clean_rows)] if len(self.data.clean_rows) else right
        return float(F.cross_entropy(logits, labels)), float(right.float().mean()), float(clean.float().mean())

    def save(self, run: Path, epoch: Epoch) -> None:
        """Write the checkpoint after an epoch."""
        self.history.append(epoch)
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        history = [asdict(each) for each in self.history]
        save_state({**state, "epochs_done": epoch.epoch, "history": history}, run / CHECKPOINT)

    def restore(self, run: Path) -> int:
        """Load the checkpoint if there is one; returns the number of epochs done."""
        state = self.group.decide(lambda: read_checkpoint(run))
        if state is None:
            return 0
        self.history = list(state["history"])
        if self.group.first:
            write_history(run, self.history)
        try:
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, KeyError, ValueError) as error:
            raise TrainingError(
                f"{run / CHECKPOINT}: not a checkpoint of this run's network ({error}); remove it and give the same "
                "command again: the run then begins anew"
            ) from error
        return int(state["epochs_done"])


def check_sides(network: nn.Module, recipe: Recipe, channels: int) -> None:
    """Show the network a blank picture of each size that it will be trained on: better now than hours later.

    Raises:
        TrainingError: it cannot take one of them.
    """
    network.eval()
    side = 0
    try:
        for side in sides(recipe):
            with torch.no_grad():
                network(torch.zeros(1, channels, side, side))
    except RuntimeError as error:
        raise TrainingError(
            f"the recipe's network cannot take pictures of {side} x {side} ({error}); give it fewer stages, or larger "
            "pictures (size, start_size)"
        ) from error


def votes_targets(
    votes: NDArray[np.float32], people: NDArray[np.float32] | None, teacher_share: float
) -> NDArray[np.float32]:
    """The share of people for each class, float32 `[N, K]`: as they voted, mixed with what teachers say.

    A row without votes has what the teachers say alone, and zeros where they are silent too.
    """
    counts = votes.sum(axis=1, keepdims=True)
    shares = votes / np.maximum(counts, 1)
    if people is None:
        return shares
    known = people.sum(axis=1, keepdims=True) > 0
    mixed = np.where(counts > 0, (1 - teacher_share) * shares + teacher_share * people, people)
    return np.where(known, mixed, shares).astype(np.float32)


def spread_over(data: TrainingData) -> np.ndarray:
    """About `SETTLE_PICTURES` training pictures of all classes, uint8 `[N, H, W, C]`."""
    return data.train.images[data.train_rows[:: max(len(data.train_rows) // SETTLE_PICTURES, 1)]]


def held_on(device: torch.device, images: np.ndarray) -> Tensor | None:
    """All pictures, uint8, in a GPU's memory, so that nothing has to be sent there; None where they do not fit."""
    if device.type != "cuda" or images.nbytes > torch.cuda.mem_get_info(device)[0] * HELD_SHARE:
        return None
    return torch.from_numpy(np.array(images)).to(device)


def _as_input(images: Tensor) -> Tensor:
    return normalize(images).contiguous(memory_format=torch.channels_last)


def compiled(network: nn.Module) -> Any:
    """The same network, its operations fused for each size of the pictures; as it is where there is no C++ compiler."""
    compilers = (os.environ.get("CXX") or "g++", "clang++", "cl")
    if not any(map(shutil.which, compilers)):
        _log.warning(
            "compile = true needs a C++ compiler, and none of %s was found: going on without, more slowly",
            ", ".join(compilers),
        )
        return network
    return torch.compile(network, dynamic=False)


def sampling_chances(labels: np.ndarray, balance: float) -> np.ndarray:
    """How likely each picture is to be drawn, float64 `[N]`, summing to 1.

    A class of n pictures is drawn in proportion to n ** (1 - balance): 0 leaves the classes as they are, 1 makes them
    equally frequent.
    """
    chances = (np.bincount(labels).clip(1).astype(float) ** -balance)[labels]
    return chances / chances.sum()


def _too_few(data: TrainingData, batch: int) -> str:
    left, repeats = len(data.train_rows), len(data.train.labels) - len(data.train_rows)
    without = f" without the {repeats} that stand in validation too" if repeats else ""
    remedy = "lower batch_size" if left > 1 else "expected other pictures in training than in validation"
    return f"{left} training pictures{without} do not fill one batch of {batch}; {remedy}"
