"""A study in its storage: opening and claiming it, bringing back what dead processes held, reading it as records."""

from __future__ import annotations

import json
import logging
import os
import socket
import time
import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from mien.errors import Remedy, TrainingError
from mien.report.study import State, Study, Trial, Value
from mien_train.recipe import Recipe, parse_recipe
from mien_train.run.folder import difference
from mien_train.tuning.sampler import SeededSampler
from mien_train.tuning.space import Space

HEARTBEAT_S, GRACE_S = 20, 120
"""How often a trial says that it lives, and after what silence anyone may take it for dead."""

TRIES = 3
"""So often a trial is begun whose process dies; then its values are left alone."""

IMPORTANCE_TRIALS = 4
"""Fewer complete trials tell nothing of what matters."""

STATES: dict[TrialState, State] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "interrupted",
    TrialState.RUNNING: "running",
}
"""In Optuna's words and in ours. A trial that failed of itself is PRUNED and says why; FAIL is left for those whose
process died or was interrupted."""


@dataclass(frozen=True)
class StudyPlan:
    """What a study is and how it is run; the same in every process that works on it.

    Attributes:
        recipe: the base recipe, with the epochs of a trial.
        fingerprint: of the data.
        startup: so many trials come first, drawn at random and never stopped early.
        deadline: in seconds since the epoch; no trial starts after it.
        threads: of each worker.
        without: a CSV of pictures to leave out.
    """

    data: Path
    out: Path
    storage: str
    name: str
    space: Space
    recipe: Recipe
    fingerprint: str
    trials: int
    threads: int
    seed: int = 0
    startup: int = 5
    deadline: float | None = None
    without: Path | None = None

    def claim(self) -> dict[str, Any]:
        """What must be equal for two commands to work on one study."""
        return {
            "data_fingerprint": self.fingerprint,
            "space": self.space.as_dict(),
            "recipe": self.recipe.model_dump(mode="json"),
            "seed": self.seed,
        }


def default_storage(out: Path) -> str:
    """The database in the study's folder."""
    return f"sqlite:///{(out / 'study.db').resolve().as_posix()}"


def address(storage: str) -> str:
    """A database's address with its driver: which one PostgreSQL has by default depends on SQLAlchemy's version.

    Raises:
        TrainingError: it is no address of a database.
    """
    url = _parsed(storage)
    url = url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url
    return url.render_as_string(hide_password=False)


def shown_storage(storage: str) -> str:
    """The address without its password."""
    return _parsed(storage).render_as_string(hide_password=True)


def _parsed(storage: str) -> URL:
    try:
        return make_url(storage)
    except ArgumentError as error:
        raise TrainingError(
            "expected the address of a database, as sqlite:///study.db or postgresql://user@host/name, found something "
            "else",
            Remedy.STORAGE,
        ) from error


@contextmanager
def storage_errors(storage: str) -> Generator[None, None, None]:
    """Errors of the database as `TrainingError`, without a password."""
    try:
        yield
    except ImportError as error:
        raise TrainingError(
            f"{shown_storage(storage)}: the driver of this database is missing ({error.__cause__ or error}); for "
            "PostgreSQL: pip install 'psycopg[binary]'"
        ) from error
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        cause = getattr(error.__cause__ or error, "orig", None) or error.__cause__ or error
        raise TrainingError(f"{shown_storage(storage)}: the database cannot be used ({cause})") from error


@contextmanager
def quiet() -> Generator[None, None, None]:
    """Without Optuna's word that heartbeats may change; which of its calls say so depends on its version."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def open_study(plan: StudyPlan) -> optuna.Study:
    """The study of `plan`, made or gone on with.

    Raises:
        TrainingError: the storage cannot be used, or holds a study of this name with another claim.
    """
    study = connect(plan)
    with storage_errors(plan.storage):
        if "claim" not in study.user_attrs and not study.get_trials(deepcopy=False):
            study.set_user_attr("claim", plan.claim())
            params = plan.space.params_of(plan.recipe)
            if params:  # the first trial is what there was: what comes after can be told from it
                study.enqueue_trial(params, user_attrs={"is_base": True}, skip_if_exists=True)
        _check(plan, study.user_attrs.get("claim"))
    return study


def connect(plan: StudyPlan) -> optuna.Study:
    """The study, made if it is not there, with sampler and pruner."""
    optuna.logging.set_verbosity(logging.ERROR)
    warmup = max(plan.recipe.epochs // 4, 1)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=plan.startup, n_warmup_steps=warmup)
    # Workers on one sqlite file wait for each other.
    options = {"connect_args": {"timeout": 120}} if plan.storage.startswith("sqlite") else {"pool_pre_ping": True}
    with storage_errors(plan.storage), quiet():
        return optuna.create_study(
            storage=_storage(plan.storage, options),
            sampler=SeededSampler(plan.seed, plan.startup),
            pruner=pruner,
            study_name=plan.name,
            direction="maximize",
            load_if_exists=True,
        )


def _storage(url: str, options: dict[str, Any], tries: int = 3) -> optuna.storages.RDBStorage:
    try:
        return optuna.storages.RDBStorage(
            url, engine_kwargs=options, heartbeat_interval=HEARTBEAT_S, grace_period=GRACE_S
        )
    except SQLAlchemyError as error:
        if not tries or "already exists" not in str(error):
            raise
        time.sleep(1)  # another process makes the tables just now
        return _storage(url, options, tries - 1)


def _check(plan: StudyPlan, found: dict[str, Any] | None) -> None:
    wanted = json.loads(json.dumps(plan.claim()))
    if found is None:
        raise TrainingError(
            f"{shown_storage(plan.storage)} holds a study {plan.name!r} that mien did not make; choose another name",
            Remedy.NAME,
        )
    # Fields that recipes have got since then have their defaults.
    found = {**found, "recipe": parse_recipe(found["recipe"], "the study's recipe").model_dump(mode="json")}
    if found != wanted:
        changed = [key for key in wanted if found.get(key) != wanted[key]]
        raise TrainingError(
            f"{plan.out} holds a study with another {' and '.join(changed)}: {difference(found, wanted)}; choose "
            "another folder (and name, on a shared storage)",
            Remedy.OUT,
            Remedy.NAME,
        )


def whose(pid: int | None = None) -> str:
    """A process of this machine, by default this one, for others to see whether it lives."""
    return f"{socket.gethostname()}:{pid or os.getpid()}"


def recover(study: optuna.Study) -> None:
    """Mark trials of dead processes as failed, and queue them again: no value that was drawn is lost."""
    with quiet():
        optuna.storages.fail_stale_trials(study)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if _is_dead(trial):
            study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
    trials = study.get_trials(deepcopy=False)
    again = {t.user_attrs.get("retry_of") for t in trials}
    lost = [t for t in trials if t.state == TrialState.FAIL]
    for trial in lost:
        folder = folder_of(trial)
        if trial.number not in again and sum(folder_of(t) == folder for t in lost) < TRIES:
            about = {"retry_of": trial.number, "folder": folder, "is_base": trial.user_attrs.get("is_base", False)}
            study.enqueue_trial(trial.params, user_attrs=about)


def fail_trials_of(study: optuna.Study, process: str) -> None:
    """Mark the running trials of a process that is known to have died."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if trial.user_attrs.get("worker") == process:
            study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)


def folder_of(trial: FrozenTrial | optuna.Trial) -> int:
    """Number of the trial whose run folder it uses: its own, or of the one that it tries again."""
    return int(trial.user_attrs.get("folder", trial.number))


def run_name(trial: FrozenTrial | optuna.Trial) -> str:
    """Run folder of a trial within that of the study."""
    return f"trials/{folder_of(trial):04}"


def counts(study: optuna.Study) -> tuple[int, int]:
    """How many trials are finished, and how many are running."""
    trials = study.get_trials(deepcopy=False)
    ended = sum(t.state in (TrialState.COMPLETE, TrialState.PRUNED) for t in trials)
    return ended, sum(t.state == TrialState.RUNNING for t in trials)


def best_trial(trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """The complete trial with the highest accuracy, of equals the first."""
    complete = [t for t in trials if t.state == TrialState.COMPLETE]
    return max(complete, key=lambda t: (t.value or 0.0, -t.number), default=None)


def importances(study: optuna.Study) -> dict[str, float]:
    """How much each field decides whether a trial is among the good ones; shares, summing to 1."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < IMPORTANCE_TRIALS or len({t.value for t in complete}) < 2:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()  # the others need scikit-learn
        return {k: float(v) for k, v in optuna.importance.get_param_importances(study, evaluator=evaluator).items()}


def as_records(
    study: optuna.Study, plan: StudyPlan, weights: Mapping[str, float], best_recipe: str = "", command: str = ""
) -> Study:
    """The study for reports."""
    trials = study.get_trials(deepcopy=False)
    shown = [_record(t) for t in trials if t.state in STATES]
    return Study(
        plan.name, str(plan.data), plan.trials, plan.recipe.epochs, plan.space.fields(), tuple(shown), weights,
        best_recipe, command,
    )  # fmt: skip


def _record(trial: FrozenTrial) -> Trial:
    curve = tuple(trial.intermediate_values[step] for step in sorted(trial.intermediate_values))
    params: dict[str, Value] = dict(trial.params)
    reason = str(trial.user_attrs.get("failure", ""))
    start, end = trial.datetime_start, trial.datetime_complete
    return Trial(
        number=trial.number,
        state="failed" if reason else STATES[trial.state],
        accuracy=trial.value if trial.state == TrialState.COMPLETE else (curve[-1] if curve else None),
        params=params,
        curve=curve,
        started=start.isoformat(timespec="seconds") if start else "",
        seconds=(end - start).total_seconds() if start and end else None,
        reason=reason,
        is_base=bool(trial.user_attrs.get("is_base", False)),
        same_as=trial.user_attrs.get("same_as"),
        folder=run_name(trial),
    )


def _is_dead(trial: FrozenTrial) -> bool:
    """Whether a running trial belongs to a process of this machine that is gone."""
    worker = str(trial.user_attrs.get("worker", ""))
    host, _, pid = worker.rpartition(":")
    if worker == whose():  # who asks trains nothing: an earlier process, in an earlier container, had this number
        return True
    if not pid:  # killed before it could say who it is
        start = trial.datetime_start
        return start is not None and (datetime.now() - start).total_seconds() > GRACE_S
    return host == socket.gethostname() and not _lives(int(pid))


def _lives(pid: int) -> bool:
    if os.name == "nt":  # there, signal 0 ends a process; its silence will tell
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
