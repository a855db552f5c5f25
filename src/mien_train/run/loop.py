"""Training from a recipe to averaged weights, in one process or several; an interrupted run goes on."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import torch

from mien.detect import default_detector_name, make_detector
from mien.errors import MienError, TrainingError, note_kept
from mien.files import make_folder
from mien.locks import locked
from mien.progress import SILENT, Progress
from mien_train.data.detected_views import detected_views
from mien_train.data.packs import EXCLUDED_FILE, TrainingData, kept, load_training_data
from mien_train.data.soft_targets import SUFFIX, load_soft_targets
from mien_train.data.tensors import input_spec, resolve_precision
from mien_train.networks.initial import initial_digest
from mien_train.recipe import Recipe
from mien_train.run.distillation import TeacherPanel, open_panel, teacher_targets
from mien_train.run.folder import ABOUT, WEIGHTS, Epoch, append_history, claim, read_about, read_history, save_state
from mien_train.run.process_group import ProcessGroup, joined
from mien_train.run.trainer import Trainer, spread_over

_log = logging.getLogger("mien")

FEW = 10
"""A class with fewer training pictures than this is mentioned: it cannot be learned well."""

FEW_STEPS = 300
"""Fewer steps of the optimizer in all are mentioned: the weights hardly move from chance."""


def train(
    data_root: Path,
    run: Path,
    recipe: Recipe,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    initial: Path | None = None,
    without: Path | None = None,
    teachers: Sequence[Path] = (),
    progress: Progress = SILENT,
    cache: Path | None = None,
) -> Path:
    """Train by `recipe` into the folder `run`; go on where an interrupted run of the same recipe and data stopped.

    Under torchrun every process calls this; only the first one tells of it and writes into `run`.

    Args:
        data_root: a labeled folder.
        run: the run folder: see `mien_train.run.folder`.
        recipe: what to do.
        on_epoch: called with each epoch's result.
        initial: weights to start from instead of fresh ones: see `load_initial`.
        without: a CSV of pictures to leave out; the run keeps what it left out as `excluded.csv`.
        teachers: bundles, or folders of finished runs, that decide `recipe.teacher_share` of the targets; files of
            soft targets (`.npz`) that decide `recipe.votes_teacher_share` of the votes' target.
        progress: is told how far the work is.
        cache: where decoded pictures are kept, if not in the run's own folder.

    Returns:
        the path of the averaged weights.

    Raises:
        DatasetError: see `load_training_data`.
        TrainingError: `run` holds a run with another recipe or other data, the loss is not finite, or there is a
            `teacher_share` without teachers or the other way round.
    """
    stored = [teacher for teacher in teachers if teacher.suffix == SUFFIX]
    networks = [teacher for teacher in teachers if teacher.suffix != SUFFIX]
    _check_teachers("teacher_share", recipe.teacher_share, len(networks), "teachers")
    _check_teachers("votes_teacher_share", recipe.votes_teacher_share, len(stored), "files of soft targets")
    make_folder(run, TrainingError)
    with joined() as group, ExitStack() as held:
        group.decide(lambda: _hold(held, run))
        try:
            return _train(
                data_root, run, recipe, on_epoch, initial, without, teachers, progress, cache or run / "cache", group,
            )  # fmt: skip
        except KeyboardInterrupt as error:
            with suppress(TrainingError):
                done = len(read_history(run))
                note_kept(error, f"{done} of {recipe.epochs} epochs are kept in {run}; the same command goes on")
            raise


def _hold(held: ExitStack, run: Path) -> None:
    """Lock the run folder, and see what it holds, before any work."""
    held.enter_context(locked(run, TrainingError))
    if (run / ABOUT).exists():
        read_about(run)


def _train(
    data_root: Path,
    run: Path,
    recipe: Recipe,
    on_epoch: Callable[[Epoch], None],
    initial: Path | None,
    without: Path | None,
    teachers: Sequence[Path],
    progress: Progress,
    cache: Path,
    group: ProcessGroup,
) -> Path:
    stored = [teacher for teacher in teachers if teacher.suffix == SUFFIX]
    networks = [teacher for teacher in teachers if teacher.suffix != SUFFIX]
    data = group.in_turn(lambda: load_training_data(data_root, input_spec(recipe), cache, progress, without))
    notes = {
        "data": str(data_root),
        "initial_weights": str(initial or ""),
        "teachers": [str(teacher) for teacher in teachers],
        "threads": torch.get_num_threads(),
        "precision": resolve_precision(recipe.precision, group.device),
        "processes": group.size,
        "device": group.device.type,
    }
    fresh = group.decide(lambda: not (run / ABOUT).exists())
    group.decide(lambda: claim(run, recipe, data, initial, teachers, notes))
    if group.first:
        _mention_unread(data)
        _mention_repeats(data)
        _mention_few(data)
    try:
        people = np.mean([load_soft_targets(path, data.train) for path in stored], axis=0) if stored else None
        trainer = Trainer(
            recipe, data, group, initial, *_prepare(data, recipe, group, networks, cache, progress), people
        )
    except MienError:
        # Refused before the first step: another recipe may have the folder.
        if fresh and group.first:
            for name in (ABOUT, EXCLUDED_FILE):
                (run / name).unlink(missing_ok=True)
        raise
    if group.first:
        _mention_steps(recipe, trainer.steps, len(data.train_rows))
    for epoch in range(trainer.restore(run), recipe.epochs):
        result = trainer.run_epoch(epoch, progress if group.first else SILENT)
        if group.first:
            # The checkpoint first: it holds the history, too, from which the file is written again on resuming.
            trainer.save(run, result)
            append_history(run, result)
            on_epoch(result)
    weights = {name: tensor.cpu() for name, tensor in trainer.average.state_dict().items()}
    group.decide(lambda: save_state(weights, run / WEIGHTS))
    return run / WEIGHTS


def _check_teachers(field: str, share: float, given: int, what: str) -> None:
    if bool(given) != (share > 0):
        raise TrainingError(f"{field} is {share:g} and {given} {what} are given; give both, or neither")


def _mention_unread(data: TrainingData) -> None:
    unread = [*data.train.failed, *data.validation.failed]
    if unread:
        _log.warning(
            "%d pictures cannot be read and are left out; run.json names them all. The first: %s",
            len(unread),
            unread[0],
        )


def _mention_repeats(data: TrainingData) -> None:
    if repeats := len(data.train.labels) - len(data.train_rows):
        _log.warning("%d training pictures stand in validation too, pixel for pixel, and are left out", repeats)


def _mention_few(data: TrainingData) -> None:
    counts = np.bincount(data.train.labels[data.train_rows], minlength=len(data.train.classes))
    few = [f"{name} ({count})" for name, count in zip(data.train.classes, counts, strict=True) if count < FEW]
    if few:
        _log.warning("few training pictures: %s", ", ".join(few))


def _mention_steps(recipe: Recipe, steps: int, pictures: int) -> None:
    """Say so where the optimizer takes too few steps to learn anything: with few pictures, batches must be small."""
    total = steps * recipe.epochs
    if total >= FEW_STEPS:
        return
    smaller = max(2 ** int(np.log2(max(pictures * recipe.epochs / FEW_STEPS, 1))), 4)
    remedy = f"take batch_size = {smaller}" if smaller < recipe.batch_size else "train for more epochs"
    _log.warning(
        "%d pictures in batches of %d give %d steps an epoch and %d in all; expected %d or more to learn from: %s",
        pictures, recipe.batch_size, steps, total, FEW_STEPS, remedy,
    )  # fmt: skip


def _prepare(
    data: TrainingData,
    recipe: Recipe,
    group: ProcessGroup,
    teachers: Sequence[Path],
    cache: Path,
    progress: Progress,
) -> tuple[np.ndarray | TeacherPanel | None, np.ndarray | None]:
    """What the teachers say, and how a detector would frame the pictures, where the recipe asks for it."""
    taught = views = None
    fingerprint = data.fingerprint[:16]
    if teachers and recipe.teacher_sees == "view":
        taught = open_panel(teachers, data.train.classes, input_spec(recipe), spread_over(data), group.device)
    elif teachers:
        asked = hashlib.sha256("".join(map(initial_digest, teachers)).encode()).hexdigest()[:16]
        answers = cache / f"taught-{asked}-{fingerprint}.npz"
        spec = input_spec(recipe)
        taught = group.decide(lambda: kept(answers, lambda: teacher_targets(teachers, data.train, spec, progress)))
    if recipe.detected_share:
        detector = make_detector(default_detector_name())
        path = cache / f"views-{detector.name}-{recipe.align}-{recipe.size}-{recipe.color}-{fingerprint}.npz"
        pictures, rows, finding = data.train.images, data.train_rows, progress
        views = group.decide(
            lambda: kept(path, lambda: detected_views(pictures, rows, detector, recipe.align, finding))
        )
    return taught, views
