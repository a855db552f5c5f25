"""A worker of a study: takes trials one after the other, trains each, and lets the pruner stop it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Protocol

import optuna
import torch
from optuna.trial import FrozenTrial, TrialState

from mien.errors import TrainingError
from mien_train.run.folder import CHECKPOINT, WEIGHTS, Epoch, read_checkpoint
from mien_train.run.loop import train
from mien_train.tuning.storage import (
    StudyPlan,
    best_trial,
    connect,
    counts,
    quiet,
    recover,
    run_name,
    storage_errors,
    whose,
)

WAIT_S = 1.0
LOCK_S = 60
"""A lock that nobody lets go of in so many seconds was held by a process that died."""

FAILURES = (TrainingError, RuntimeError, ValueError, MemoryError)
"""What a recipe may run into: a loss that is not finite, a network that cannot be built or does not fit."""


class Lock(Protocol):
    """Held while a trial is taken: workers of one machine do not start more than are wanted."""

    def acquire(self, *, timeout: float) -> bool: ...
    def release(self) -> None: ...


def work(plan: StudyPlan, lock: Lock, on_change: Callable[[], object] = lambda: None) -> None:
    """Take and train trials until as many as wanted are finished, or the time is over.

    Raises:
        DatasetError: the data have become unreadable.
        TrainingError: the storage cannot be used.
    """
    torch.set_num_threads(plan.threads)
    with storage_errors(plan.storage):
        study = connect(plan)
        while plan.deadline is None or time.time() < plan.deadline:
            taken = _TrialLock(lock)
            with taken:
                recover(study)
                finished, running = counts(study)
                if finished >= plan.trials:
                    return
                if finished + running < plan.trials:
                    objective = partial(_try, plan=plan, free=taken.free, on_change=on_change)
                    with quiet():
                        study.optimize(objective, n_trials=1)
                    _tidy(study, plan.out)
                    on_change()
                    continue
            time.sleep(WAIT_S)  # others train the last ones: one of them may die
            on_change()


class _TrialLock(AbstractContextManager["_TrialLock"]):
    """A lock that is let go of when the trial is taken, at the latest at the end."""

    def __init__(self, lock: Lock) -> None:
        self._lock, self._held = lock, False

    def __enter__(self) -> _TrialLock:
        self._held = self._lock.acquire(timeout=LOCK_S)
        return self

    def __exit__(self, *about: object) -> None:
        self.free()

    def free(self) -> None:
        """Let others take the next one."""
        if self._held:
            self._held = False
            self._lock.release()


def _try(trial: optuna.Trial, plan: StudyPlan, free: Callable[[], None], on_change: Callable[[], object]) -> float:
    """Train one trial; its accuracy after the last epoch."""
    trial.set_user_attr("worker", whose())
    params = plan.space.suggest(trial)
    free()
    on_change()
    twin = _twin(trial)
    if twin is not None:
        return _take_over(trial, twin)
    last: float | None = None

    def on_epoch(epoch: Epoch) -> None:
        nonlocal last
        last = epoch.clean_accuracy
        trial.report(last, epoch.epoch)
        on_change()
        if epoch.epoch < plan.recipe.epochs and trial.should_prune():
            raise optuna.TrialPruned

    run = plan.out / run_name(trial)
    if "retry_of" not in trial.user_attrs and run.exists():
        shutil.rmtree(run)  # of a study whose database is gone
    try:
        recipe = plan.space.recipe(plan.recipe, params)
        begun = read_checkpoint(run)
        known: list[Epoch] = begun["history"] if begun else []
        for epoch in known:  # of a process that died: training goes on from there
            last = epoch.clean_accuracy
            trial.report(epoch.clean_accuracy, epoch.epoch)
        train(plan.data, run, recipe, on_epoch, without=plan.without, cache=plan.out / "cache")
    except FAILURES as error:
        trial.set_user_attr("failure", str(error) or type(error).__name__)
        # Not as Optuna's FAIL: the sampler does not look at those, and would propose the like again and again.
        raise optuna.TrialPruned from error
    assert last is not None, "a trial has at least one epoch"
    return last


def _twin(trial: optuna.Trial) -> FrozenTrial | None:
    """An earlier finished trial with the same values: equal recipes give equal weights, so nothing new would come."""
    done = trial.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    return next((t for t in done if t.params == trial.params and "failure" not in t.user_attrs), None)


def _take_over(trial: optuna.Trial, twin: FrozenTrial) -> float:
    trial.set_user_attr("same_as", twin.number)
    for step, value in sorted(twin.intermediate_values.items()):
        trial.report(value, step)
    if twin.state == TrialState.PRUNED or twin.value is None:
        raise optuna.TrialPruned
    return twin.value


def _tidy(study: optuna.Study, out: Path) -> None:
    """Keep the weights of the best trial alone; of the others, what tells how they went."""
    trials = study.get_trials(deepcopy=False)
    best = best_trial(trials)
    for trial in trials:
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
            run = out / run_name(trial)
            (run / CHECKPOINT).unlink(missing_ok=True)
            if not (best and run_name(trial) == run_name(best)):
                (run / WEIGHTS).unlink(missing_ok=True)
