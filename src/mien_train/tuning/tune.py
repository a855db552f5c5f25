"""What `mien tune` does: search a space of recipes on one or several processes, and keep the best one.

A study is a folder: `study.db` (unless another database holds it), `best.toml`, `trials/<number>/` (run folders; the
best one with its weights) and `cache/` (decoded pictures, shared by all trials).
"""

from __future__ import annotations

import multiprocessing as mp
import os
import platform
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import optuna
import tomli_w
import torch

from mien.errors import MienError, Remedy, TrainingError, note_kept
from mien.files import write_text
from mien.progress import SILENT, Progress
from mien.report.study import Study
from mien.signals import heed_ctrl_c, starting_processes
from mien_train.data.packs import load_training_data
from mien_train.data.tensors import input_spec
from mien_train.recipe import Recipe, load_recipe, parse_recipe
from mien_train.tuning.space import load_space
from mien_train.tuning.storage import (
    StudyPlan,
    address,
    as_records,
    best_trial,
    default_storage,
    fail_trials_of,
    importances,
    open_study,
    storage_errors,
    whose,
)
from mien_train.tuning.worker import work

POLL_S = 1.0
LEAVE_S = 20
"""So long a worker may take to leave after an interruption."""


def tune(
    data: Path,
    out: Path,
    *,
    space: Path | None = None,
    recipe: Path | None = None,
    epochs: int | None = None,
    trials: int = 20,
    workers: int = 1,
    threads: int = 0,
    timeout_s: float | None = None,
    storage: str = "",
    name: str = "",
    seed: int = 0,
    startup: int = 5,
    without: Path | None = None,
    progress: Progress = SILENT,
    on_change: Callable[[Study], None] = lambda study: None,
) -> Study:
    """Search until `trials` are finished, or go on with a search that was interrupted.

    Args:
        data: a labeled folder.
        out: the study's folder.
        space: a space in TOML; None: the bundled one.
        recipe: the base recipe in TOML, for what is not searched; None: the defaults.
        epochs: of each trial; None: the recipe's.
        trials: how many shall be finished in all, those of earlier calls and of other machines counted.
        workers: processes on this machine.
        threads: of all workers together; 0 takes every core.
        timeout_s: no trial starts after so many seconds.
        storage: address of a database; empty: a file in `out`.
        name: of the study in `storage`; empty: the name of `out`.
        seed: of the search.
        startup: so many trials come first, drawn at random and never stopped early.
        without: a CSV of pictures to leave out.
        progress: is told how far the decoding of the pictures is.
        on_change: called as the work goes on, with all that is known.

    Returns:
        the study as it stands at the end.

    Raises:
        DatasetError: see `load_training_data`.
        TrainingError: the space or recipe is wrong, `out` or the database holds another study, or the workers died.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise TrainingError("a search starts its own processes; start it without torchrun", Remedy.WORKERS)
    base = load_recipe(recipe) if recipe else parse_recipe({}, "recipe")
    if base.teacher_share:
        raise TrainingError(
            f"{recipe}: trials have no teachers, and teacher_share is {base.teacher_share:g}; set it to 0 for the "
            "search"
        )
    tried = parse_recipe({**base.model_dump(), "epochs": epochs or base.epochs}, str(recipe or "recipe"))
    plan = StudyPlan(
        data=data, out=out, storage=address(storage or default_storage(out)),
        name=name or (out.resolve().name if storage else "study"),
        space=load_space(space, base), recipe=tried, fingerprint="", trials=trials,
        threads=max((threads or os.cpu_count() or 1) // workers, 1), seed=seed, startup=startup,
        deadline=time.time() + timeout_s if timeout_s is not None else None, without=without,
    )  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    decoded = load_training_data(data, input_spec(tried), out / "cache", progress, without)
    plan = replace(plan, fingerprint=decoded.fingerprint)
    study = open_study(plan)
    watch = _StudyWatcher(study, plan, base.epochs, on_change)
    with storage_errors(plan.storage):
        watch.look()
        try:
            if workers == 1:
                work(plan, threading.Lock(), watch.look)
            else:
                _work_together(study, plan, workers, watch.look)
        except KeyboardInterrupt as error:
            note_kept(error, f"the trials so far are kept in {out}; the same command goes on")
            raise
        return watch.look()


class _StudyWatcher:
    """Reads the study, and keeps `best.toml` up to date."""

    def __init__(self, study: optuna.Study, plan: StudyPlan, epochs: int, on_change: Callable[[Study], None]) -> None:
        self._study, self._plan, self._tell = study, plan, on_change
        self._ended, self._weights = -1, dict[str, float]()
        self._toml, self._command = "", _command(plan, epochs)

    def look(self) -> Study:
        """All that is known now."""
        trials = self._study.get_trials(deepcopy=False)
        ended = sum(t.state.is_finished() for t in trials)
        if ended != self._ended:
            self._ended, self._weights = ended, importances(self._study)
            best = best_trial(trials)
            if best is not None:
                recipe = self._plan.space.recipe(self._plan.recipe, best.params)
                self._toml = _best_toml(recipe, best.number, best.value or 0.0, ended, self._plan, self._command)
                _write(self._plan.out / "best.toml", self._toml)
        command = self._command if self._toml else ""
        known = as_records(self._study, self._plan, self._weights, self._toml, command)
        self._tell(known)
        return known


def _command(plan: StudyPlan, epochs: int) -> str:
    """What trains the best recipe, as long as the base recipe says."""
    words = ["mien", "train", str(plan.data), "--recipe", str(plan.out / "best.toml")]
    words += ["--exclude", str(plan.without)] if plan.without else []
    words += ["--epochs", str(epochs)] if epochs != plan.recipe.epochs else []
    line = shlex.join([*words, "--out", f"runs/{plan.out.resolve().name}-best"])  # the study itself may lie in runs/
    return line.replace("\n", " ")  # it stands in a comment


def _best_toml(recipe: Recipe, number: int, accuracy: float, ended: int, plan: StudyPlan, command: str) -> str:
    searched = ", ".join(entry.name for entry in plan.space.entries)
    length = f"{recipe.epochs} epoch{'s' if recipe.epochs > 1 else ''}"
    head = (
        f"# The best of {ended} trials of the study {plan.name!r} by `mien tune`: trial {number}, {accuracy:.2%} of\n"
        f"# the validation pictures that do not stand in training, after {length}. The best of many is\n"
        f"# flattered by chance: measure the trained model on pictures that the search never saw.\n"
        f"# Data: fingerprint {plan.fingerprint}. Searched: {searched}.\n"
        f"# Torch {torch.__version__}, Python {platform.python_version()}, {plan.threads} threads.\n"
        f"#   {command}\n"
    )
    return head + tomli_w.dumps(recipe.model_dump(mode="json", exclude_none=True))


def _write(path: Path, text: str) -> None:
    write_text(path, text, TrainingError)


def _work_together(study: optuna.Study, plan: StudyPlan, workers: int, look: Callable[[], Study]) -> None:
    context = mp.get_context("spawn")
    lock = context.Lock()
    running: list[BaseProcess] = [context.Process(target=_worker, args=(plan, lock)) for _ in range(workers)]
    with starting_processes():
        for process in running:
            process.start()
    ends: list[int] = []
    try:
        while running:
            wait([p.sentinel for p in running], timeout=POLL_S)
            for process in [p for p in running if p.exitcode is not None]:
                running.remove(process)
                ends.append(process.exitcode or 0)
                if process.exitcode:  # at once, not when its silence tells: others take its trial up again
                    fail_trials_of(study, whose(process.pid))
                    print(f"mien: a worker ended {_how(process.exitcode)}", file=sys.stderr, flush=True)
            look()
    except KeyboardInterrupt:  # the workers got it too
        wait_until = time.monotonic() + LEAVE_S
        for process in running:
            process.join(max(wait_until - time.monotonic(), 0))
        raise
    finally:
        for process in running:
            process.terminate()
    if all(ends):
        raise TrainingError(
            f"every worker died (the last one {_how(ends[-1])}); what is finished is kept: give the same command "
            "again, with fewer workers if memory ran out",
            Remedy.WORKERS,
        )


def _how(code: int) -> str:
    if code >= 0:
        return f"with exit code {code}"
    try:
        return f"by {signal.Signals(-code).name}"
    except ValueError:
        return f"by signal {-code}"


def _worker(plan: StudyPlan, lock: threading.Lock) -> None:
    """A process of its own; leaves with its parent."""
    parent = mp.parent_process()
    if parent is not None:

        def follow() -> None:
            wait([parent.sentinel])
            os._exit(1)

        threading.Thread(target=follow, daemon=True).start()
    try:
        heed_ctrl_c()
        work(plan, lock)
    except MienError as error:
        print(f"mien: {error}", file=sys.stderr, flush=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
