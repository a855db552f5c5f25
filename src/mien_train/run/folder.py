"""The folder of a run: what was asked for, what came of each epoch, and what a killed run goes on from.

`run.json` (recipe, data, versions), `history.jsonl` (one line an epoch), `checkpoint.pt` (to go on from), `weights.pt`
(the averaged weights of the last epoch), `excluded.csv` and `cache/`. Everything is written atomically, and carries
checksums: what was damaged is named. The checkpoint holds the history, too, so that a kill between the two loses none.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch

from mien._version import __version__
from mien.checked_json import read_checked_json, write_checked_json
from mien.errors import Remedy, TrainingError, reason
from mien.files import replacing, write_text
from mien_train.data.packs import EXCLUDED_FILE, TrainingData
from mien_train.networks.initial import initial_digest
from mien_train.networks.tensor_file import read_tensors
from mien_train.recipe import Recipe, parse_recipe

RUN_VERSION = 1
ABOUT, CHECKPOINT, HISTORY, WEIGHTS = "run.json", "checkpoint.pt", "history.jsonl", "weights.pt"


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


def read_about(folder: Path) -> dict[str, Any]:
    """What `run.json` says, of a finished run or another.

    Raises:
        TrainingError: not a run folder, or the file is damaged.
    """
    path = folder / ABOUT
    if not path.exists():
        raise TrainingError(f"{folder}: not a run folder (no {ABOUT}); expected one made by `mien train`")
    try:
        about = read_checked_json(path)
        if missing := {"recipe", "classes", "data_fingerprint", "initial_weights_sha256"} - about.keys():
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"{path}: damaged ({reason(error)}); restore it from a copy, or start a new run from "
            f"{folder / CHECKPOINT} or {folder / WEIGHTS}",
            Remedy.INITIAL,
        ) from error
    return about


def read_history(run: Path) -> list[Epoch]:
    """The epochs of a run so far.

    Raises:
        TrainingError: the file is damaged.
    """
    path = run / HISTORY
    if not path.exists():
        return []
    try:
        return [Epoch(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError, TypeError) as error:
        raise TrainingError(
            f"{path}: damaged ({reason(error)}); give the same `mien train` command again, which writes it anew from "
            f"{CHECKPOINT}"
        ) from error


def write_history(run: Path, epochs: Sequence[Epoch]) -> None:
    """Write all lines anew."""
    write_text(run / HISTORY, "".join(json.dumps(asdict(epoch)) + "\n" for epoch in epochs), TrainingError)


def read_checkpoint(run: Path) -> dict[str, Any] | None:
    """The checkpoint of a run, with its `history` as a list of `Epoch`; None if there is none.

    Raises:
        TrainingError: it is damaged.
    """
    if not (run / CHECKPOINT).exists():
        return None
    more = f", which may start from {run / WEIGHTS}" if (run / WEIGHTS).exists() else ""
    state = read_tensors(
        run / CHECKPOINT,
        "restore it from a copy, or remove it and give the same command again: the run then begins anew" + more,
    )
    done = int(state["epochs_done"])
    history = state.get("history")
    epochs = read_history(run)[:done] if history is None else [Epoch(**epoch) for epoch in history]
    return {**state, "history": epochs}


def claim(
    run: Path,
    recipe: Recipe,
    data: TrainingData,
    initial: Path | None,
    teachers: Sequence[Path],
    notes: dict[str, Any],
) -> None:
    """Write `run.json`, or refuse a folder that holds a run of another recipe or other data.

    `notes` (what was asked for in which words, threads, precision, processes) may differ when a run goes on.

    Raises:
        TrainingError: the folder holds another run; the difference is in the message.
    """
    path = run / ABOUT
    wanted = {
        "recipe": recipe.model_dump(mode="json"),
        "data_fingerprint": data.fingerprint,
        "votes_fingerprint": hashlib.sha256(data.train.votes.tobytes()).hexdigest()[:16],
        "initial_weights_sha256": initial_digest(initial),
        "teachers_sha256": " ".join(initial_digest(t) for t in teachers),
    }
    if path.exists():
        found = read_about(run)
        # Fields that recipes have got since then have their defaults.
        found["recipe"] = parse_recipe(found["recipe"], str(path)).model_dump(mode="json")
        found.setdefault("votes_fingerprint", wanted["votes_fingerprint"])  # noted since 2026-11-27
        changed = [k for k in wanted if found.get(k, "") != wanted[k]]
        if changed:
            finished = (run / WEIGHTS).exists()
            raise TrainingError(
                f"{run} holds a {'finished ' * finished}run with another {' and '.join(changed)}: "
                f"{difference(found, wanted)}; choose another folder"
                + f", and start from {run / WEIGHTS} to train on from it"
                * finished,
                Remedy.OUT,
                *[Remedy.INITIAL] * finished,
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
        "versions": {
            "mien": __version__,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "numpy": np.__version__,
            "pillow": PIL.__version__,
        },
        **notes,
        "git_commit": git_commit(),
    }
    if data.excluded:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([["path"], *([path] for path in data.excluded)])
        write_text(run / EXCLUDED_FILE, text.getvalue(), TrainingError)
    write_checked_json(path, about, TrainingError)


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


def append_history(run: Path, epoch: Epoch) -> None:
    """Add an epoch's line."""
    try:
        with (run / HISTORY).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(epoch)) + "\n")
    except OSError as error:
        raise TrainingError(f"{run / HISTORY}: cannot be written ({reason(error)}); the checkpoint is") from error


def save_state(state: dict[str, Any], path: Path) -> None:
    """Atomically: a full disk or a kill leaves the previous file as it was."""
    try:
        with replacing(path, TrainingError) as temporary, temporary.open("wb") as file:
            torch.save(state, file)
    except (TrainingError, RuntimeError) as error:
        # torch puts its own error in the place of the disk's
        cause = error.__context__ if isinstance(error.__context__, OSError) else error
        raise TrainingError(
            f"{path}: cannot be written ({reason(cause)}); the previous checkpoint is untouched"
        ) from error


def git_commit() -> str:
    """The commit of this code, with "-dirty" where files differ from it; empty where git does not keep this file."""
    here = Path(__file__)

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words], capture_output=True, text=True, timeout=10, cwd=here.parent, check=True
        ).stdout.strip()

    try:
        git(
            "ls-files", "--error-unmatch", here.name
        )  # installed somewhere inside another project, it is not that one's
        return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return ""
