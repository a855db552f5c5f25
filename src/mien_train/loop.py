"""The training loop: epochs, moving average, atomic checkpoints, resumption.

A run is a folder: `run.json` (recipe, data, versions), `history.jsonl` (one line an epoch), `curves.svg`,
`checkpoint.pt` (to resume), `weights.pt` (the averaged weights of the last epoch) and `cache/`.
"""

from __future__ import annotations

import copy
import csv
import io
import json
import math
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from mien.detect import default_detector_name, make_detector
from mien.errors import TrainingError
from mien.manifest import InputSpec
from mien_train.augment import augment, mixup
from mien_train.data import EXCLUDED_FILE, Pack, TrainingData, load_training_data, soft_targets
from mien_train.distil import teacher_targets
from mien_train.initial import initial_digest, load_initial
from mien_train.networks import build_network
from mien_train.recipe import Recipe, parse_recipe
from mien_train.views import detected_views

RUN_VERSION = 1
EVALUATION_BATCH = 512
ASKING, FRAMING = "asking the teachers", "finding faces"
"""What is prepared before the first epoch, for people."""

SETTLE_PICTURES = 1024
"""Pictures that give the statistics of normalisations when a run starts from a bundle."""


@dataclass(frozen=True)
class Epoch:
    """One line of `history.jsonl`. Accuracies are shares, 0..1; `clean_accuracy` is without repeated pictures."""

    epoch: int
    learning_rate: float
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    clean_accuracy: float
    seconds: float


def input_spec(recipe: Recipe) -> InputSpec:
    """The input tensor of a network trained by `recipe`."""
    channels = 1 if recipe.color == "gray" else 3
    return InputSpec(height=recipe.size, width=recipe.size, channels=channels, color=recipe.color)


def output_columns(recipe: Recipe, classes: int) -> int:
    """Columns of the network's output: the classes and, with `votes_weight`, as many more that learn the votes."""
    return classes * 2 if recipe.votes_weight else classes


def normalise(images: Tensor) -> Tensor:
    """float 0..1 -> -1..1, as every network here expects (the course's `(x - 0.5) / 0.5`)."""
    return images * 2 - 1


def resolve_precision(wanted: str) -> str:
    """`auto` -> bf16 where the processor multiplies in it, else fp32: emulated bf16 is ten times slower than fp32."""
    if wanted != "auto":
        return wanted
    abilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return "bf16" if abilities.get("avx512_bf16") or abilities.get("amx_bf16") else "fp32"


def train(
    data_root: Path,
    run: Path,
    recipe: Recipe,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    on_step: Callable[[int, int, int], None] = lambda epoch, step, steps: None,
    on_decode: Callable[[int, int], None] = lambda done, total: None,
    initial: Path | None = None,
    without: Path | None = None,
    teachers: Sequence[Path] = (),
    on_prepare: Callable[[str, int, int], None] = lambda what, done, total: None,
    cache: Path | None = None,
) -> Path:
    """Train by `recipe` into the folder `run`; go on where an interrupted run of the same recipe and data stopped.

    Args:
        data_root: a labelled folder.
        run: the run folder.
        recipe: what to do.
        on_epoch, on_step, on_decode, on_prepare: called as the work goes on.
        initial: weights to start from instead of fresh ones: see `load_initial`.
        without: a CSV of pictures to leave out; the run keeps what it left out as `excluded.csv`.
        teachers: bundles that decide `recipe.teacher_share` of the targets.
        cache: where decoded pictures are kept, if not in the run's own folder.

    Returns:
        the path of the averaged weights.

    Raises:
        DatasetError: see `load_training_data`.
        TrainingError: `run` holds a run with another recipe or other data, the loss is not finite, or there is a
            `teacher_share` without teachers or the other way round.
    """
    if bool(teachers) != (recipe.teacher_share > 0):
        raise TrainingError(
            f"teacher_share is {recipe.teacher_share:g} and {len(teachers)} teachers are given; give both, or neither"
        )
    run.mkdir(parents=True, exist_ok=True)
    data = load_training_data(data_root, input_spec(recipe), cache or run / "cache", on_decode, without)
    _claim(run, recipe, data, initial, teachers)
    taught = (
        teacher_targets(teachers, data.train, input_spec(recipe), partial(on_prepare, ASKING)) if teachers else None
    )
    views = (
        _views(data, recipe, cache or run / "cache", partial(on_prepare, FRAMING)) if recipe.detected_share else None
    )
    trainer = _Trainer(recipe, data, initial, taught, views)
    first = trainer.restore(run / "checkpoint.pt")
    for epoch in range(first, recipe.epochs):
        result = trainer.run_epoch(epoch, on_step)
        # The checkpoint first: a kill between the two lines repeats no epoch, and history is cut to it on resuming.
        trainer.save(run / "checkpoint.pt", epoch + 1)
        _append_history(run / "history.jsonl", result)
        on_epoch(result)
    _save(trainer.average.state_dict(), run / "weights.pt")
    return run / "weights.pt"


def read_history(run: Path) -> list[Epoch]:
    """The epochs of a run so far."""
    path = run / "history.jsonl"
    return [Epoch(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


@torch.inference_mode()
def predict_logits(network: nn.Module, images: np.ndarray, precision: str) -> Tensor:
    """All output columns, float `[N, columns]`, of uint8 `[N, H, W, C]`; the first K are the classes' logits."""
    network.eval()
    out: list[Tensor] = []
    for start in range(0, len(images), EVALUATION_BATCH):
        batch = _to_tensor(images[start : start + EVALUATION_BATCH])
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            out.append(network(normalise(batch)).float())
    return torch.cat(out)


class _Trainer:
    """Network, moving average and optimiser of one run."""

    def __init__(
        self,
        recipe: Recipe,
        data: TrainingData,
        initial: Path | None,
        taught: np.ndarray | None,
        views: np.ndarray | None,
    ) -> None:
        self.recipe, self.data, self.views = recipe, data, views
        self.precision = resolve_precision(recipe.precision)
        torch.manual_seed(recipe.seed)
        spec = input_spec(recipe)
        network = build_network(
            recipe.network, spec.channels, output_columns(recipe, len(data.train.classes)), recipe.size
        )
        self.network = network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - torch's stubs lack it
        if initial:
            spread = data.train_rows[:: max(len(data.train_rows) // SETTLE_PICTURES, 1)]  # over all classes
            load_initial(self.network, initial, normalise(_to_tensor(data.train.images[spread])))
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        decayed = [p for p in self.network.parameters() if p.ndim > 1]
        others = [p for p in self.network.parameters() if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
        self.optimiser = torch.optim.SGD(groups, recipe.learning_rate, recipe.momentum, nesterov=recipe.momentum > 0)
        self.targets = soft_targets(data.train, recipe.label_share, recipe.label_smoothing)
        if taught is not None:
            self.targets = (1 - recipe.teacher_share) * self.targets + recipe.teacher_share * taught
        self.votes = data.train.votes / np.maximum(data.train.votes.sum(axis=1, keepdims=True), 1)
        self.steps = len(data.train_rows) // recipe.batch_size
        if not self.steps:
            raise TrainingError(
                f"{len(data.train_rows)} training pictures do not fill one batch of {recipe.batch_size}; lower "
                "batch_size"
            )

    def run_epoch(self, epoch: int, on_step: Callable[[int, int, int], None]) -> Epoch:
        started = time.perf_counter()
        # Seeded by epoch, so that a resumed run sees what an uninterrupted one would have seen.
        generator = Generator().manual_seed(self.recipe.seed * 1_000_003 + epoch)
        torch.manual_seed(self.recipe.seed * 1_000_003 + epoch)  # dropout
        self.network.train()
        loss_sum, right, rate = 0.0, 0, 0.0
        for step, (chosen, images, targets, votes) in enumerate(self._batches(generator)):
            rate = self._set_rate(epoch * self.steps + step)
            images = augment(images, self.recipe.augment, generator, self._views_of(chosen, generator))
            images, (targets, votes) = mixup(images, (targets, votes), self.recipe.mixup, generator)
            inputs = normalise(images).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bf16"):
                outputs = self.network(inputs).float()
            loss = self._loss(outputs, targets, votes)
            if not math.isfinite(loss.item()):
                raise TrainingError(
                    f"the loss is {loss.item()} at epoch {epoch + 1}, step {step + 1} (learning rate "
                    f"{rate:.4g}); the last checkpoint is kept: "
                    "resume with a lower learning_rate, or precision = 'fp32', in a new run"
                )
            self.optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.gradient_clip)
            self.optimiser.step()
            self._update_average(epoch * self.steps + step)
            loss_sum += loss.item()
            right += int((outputs[:, : targets.shape[1]].argmax(1) == targets.argmax(1)).sum())
            on_step(epoch, step + 1, self.steps)
        loss_now, accuracy, clean = self._validate()
        seen = self.steps * self.recipe.batch_size
        return Epoch(
            epoch + 1,
            rate,
            loss_sum / self.steps,
            right / seen,
            loss_now,
            accuracy,
            clean,
            round(time.perf_counter() - started, 1),
        )

    def _loss(self, outputs: Tensor, targets: Tensor, votes: Tensor) -> Tensor:
        """Cross-entropy with the targets, plus that of the auxiliary columns with the votes (0 for rows without)."""
        classes = targets.shape[1]
        loss = F.cross_entropy(outputs[:, :classes], targets)
        if self.recipe.votes_weight:
            loss = loss + self.recipe.votes_weight * F.cross_entropy(outputs[:, classes:], votes)
        return loss

    def _batches(self, generator: Generator) -> Iterator[tuple[np.ndarray, Tensor, Tensor, Tensor]]:
        rows = self.data.train_rows[torch.randperm(len(self.data.train_rows), generator=generator).numpy()]
        for step in range(self.steps):
            chosen = np.sort(rows[step * self.recipe.batch_size : (step + 1) * self.recipe.batch_size])
            images = _to_tensor(self.data.train.images[chosen])
            yield chosen, images, torch.from_numpy(self.targets[chosen]), torch.from_numpy(self.votes[chosen])

    def _views_of(self, chosen: np.ndarray, generator: Generator) -> Tensor | None:
        """The detector's view of a share of these pictures, and the whole picture of the others."""
        if self.views is None:
            return None
        views = torch.from_numpy(self.views[chosen])
        seen = torch.rand(len(chosen), generator=generator) < self.recipe.detected_share
        return torch.where((seen & views.isfinite().all(dim=1))[:, None], views, 0.0)

    def _set_rate(self, step: int) -> float:
        warmup = self.recipe.warmup_epochs * self.steps
        total = self.recipe.epochs * self.steps
        share = (
            (step + 1) / warmup
            if step < warmup
            else 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(total - warmup, 1)))
        )
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.learning_rate * share
        return self.recipe.learning_rate * share

    @torch.no_grad()
    def _update_average(self, step: int) -> None:
        decay = min(self.recipe.ema_decay, (1 + step) / (10 + step))  # short memory while the weights still move fast
        for kept, new in zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True):
            kept.lerp_(new, 1 - decay) if kept.is_floating_point() else kept.copy_(new)

    def _validate(self) -> tuple[float, float, float]:
        pack: Pack = self.data.validation
        logits = predict_logits(self.average, pack.images, self.precision)[:, : len(pack.classes)]
        labels = torch.from_numpy(pack.labels)
        right = logits.argmax(1) == labels
        clean = right[torch.from_numpy(self.data.clean_rows)] if len(self.data.clean_rows) else right
        return float(F.cross_entropy(logits, labels)), float(right.float().mean()), float(clean.float().mean())

    def save(self, path: Path, epochs_done: int) -> None:
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        _save({**state, "epochs_done": epochs_done}, path)

    def restore(self, path: Path) -> int:
        """Load a checkpoint if there is one; returns the number of epochs done."""
        if not path.exists():
            return 0
        state: dict[str, Any] = torch.load(path, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        _trim_history(path.with_name("history.jsonl"), state["epochs_done"])
        return int(state["epochs_done"])


def _views(data: TrainingData, recipe: Recipe, cache: Path, on_detect: Callable[[int, int], None]) -> np.ndarray:
    detector = make_detector(default_detector_name())
    path = cache / f"views-{detector.name}-{recipe.align}-{data.fingerprint[:16]}.npy"
    return detected_views(data.train.images, data.train_rows, detector, recipe.align, path, on_detect)


def _to_tensor(images: np.ndarray) -> Tensor:
    """uint8 `[N, H, W, C]` -> float `[N, C, H, W]`, 0..1."""
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 255


def _claim(run: Path, recipe: Recipe, data: TrainingData, initial: Path | None, teachers: Sequence[Path]) -> None:
    """Write `run.json`, or refuse a folder that holds a run of another recipe or other data."""
    path = run / "run.json"
    wanted = {
        "recipe": recipe.model_dump(mode="json"),
        "data_fingerprint": data.fingerprint,
        "initial_weights_sha256": initial_digest(initial),
        "teachers_sha256": " ".join(initial_digest(t) for t in teachers),
    }
    if path.exists():
        found = json.loads(path.read_text())
        # Fields that recipes have got since then have their defaults.
        found["recipe"] = parse_recipe(found["recipe"], str(path)).model_dump(mode="json")
        changed = [k for k in wanted if found.get(k, "") != wanted[k]]
        if changed:
            raise TrainingError(
                f"{run} holds a run with another {' and '.join(changed)}: {difference(found, wanted)}; choose "
                "another --out"
            )
        return
    about = {
        "run_version": RUN_VERSION,
        **wanted,
        "classes": list(data.train.classes),
        "samples": {
            "train": len(data.train_rows),
            "validation": len(data.validation.labels),
            "validation_clean": len(data.clean_rows),
        },
        "left_out": {
            "repeated_in_validation": len(data.train.labels) - len(data.train_rows),
            "excluded": len(data.excluded),
            "unreadable": [*data.train.failed, *data.validation.failed],
        },
        "versions": {"python": platform.python_version(), "torch": str(torch.__version__), "numpy": np.__version__},
        "threads": torch.get_num_threads(),
        "precision": resolve_precision(recipe.precision),
        "git_commit": _git_commit(),
    }
    if data.excluded:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([["path"], *([path] for path in data.excluded)])
        _write_text(run / EXCLUDED_FILE, text.getvalue())
    _write_text(path, json.dumps(about, indent=2))


def difference(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    """Where two nested dictionaries differ in what is wanted, for people."""

    def flat(value: Any, prefix: str = "") -> dict[str, Any]:
        if not isinstance(value, dict):
            return {prefix: value}
        return {k: v for name, part in value.items() for k, v in flat(part, f"{prefix}.{name}".lstrip(".")).items()}

    a, b = flat({k: found.get(k, "") for k in wanted}), flat(wanted)
    return ", ".join(
        f"{k} was {a.get(k)!r}, is {b.get(k)!r}" for k in sorted(a.keys() | b.keys()) if a.get(k) != b.get(k)
    )


def _append_history(path: Path, epoch: Epoch) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(epoch)) + "\n")


def _trim_history(path: Path, epochs: int) -> None:
    if path.exists():
        lines = path.read_text().splitlines()[:epochs]
        _write_text(path, "".join(f"{line}\n" for line in lines))


def _write_text(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _save(state: dict[str, Any], path: Path) -> None:
    """Atomically: a full disk or a kill leaves the previous file as it was."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise TrainingError(f"{path}: cannot save ({error.strerror}); the previous checkpoint is untouched") from error
    temporary.replace(path)


def _git_commit() -> str:
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, cwd=Path(__file__).parent
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
