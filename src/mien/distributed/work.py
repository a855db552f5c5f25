"""What a worker needs to know, and the recognizer that it makes of it: the same on every machine."""

from __future__ import annotations

import hashlib
import pickle
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import platformdirs

from mien._version import __version__
from mien.batch import Job
from mien.distributed.stores import open_store
from mien.errors import BundleMismatch, StoreError
from mien.files import make_folder, write_bytes
from mien.model.bundle import load_bundle
from mien.pipeline import Recognizer

MAX_PICTURE_BYTES = 2**28
"""A larger object is no picture: it is refused by its size, before it is read."""

_PLACE_ONLY = ("model", "detector_model", "threads", "drawing", "ahead")
"""Fields of a job that do not change rows, or that are compared by their content."""

FILES = "plan/files"
"""Where a run keeps the models that its workers take, by their hashes."""


@dataclass(frozen=True, slots=True)
class SharedFile:
    """A file that workers need: its name, its hash, and that of the manifest beside it, if it has one."""

    name: str
    sha256: str
    sidecar_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class WorkerRun:
    """A run, as a worker sees it. Small, and sent with every shard.

    Attributes:
        out: address of the run's folder.
        plan: the run's id; its shards are in `plan/ID/`.
        job: how pictures are read.
        model: the bundle, which a worker takes from the run's folder if it has not got it.
        detector_model: the same for the detector's own file.
        version: of mien; a worker with another one refuses.
    """

    out: str
    plan: str
    job: Job
    model: SharedFile
    detector_model: SharedFile | None = None
    version: str = __version__


def job_record(job: Job) -> dict[str, Any]:
    """Everything in a job that rows follow from, ready for JSON; fields that are added to a job join by themselves."""
    return {field.name: _plain(getattr(job, field.name)) for field in fields(job) if field.name not in _PLACE_ONLY}


def share_files(out: str, job: Job) -> tuple[SharedFile, SharedFile | None]:
    """Put the model, and the detector's file, where workers find them.

    Raises:
        MienError: the model cannot be loaded, or a file cannot be read or written.
    """
    bundle = load_bundle(job.model, unsealed=job.unsealed)
    sidecar = bundle.path.with_name(bundle.path.stem + ".manifest.json")
    model = SharedFile(
        bundle.path.name, _share(out, bundle.model), _share(out, sidecar.read_bytes()) if sidecar.exists() else None
    )
    own = job.detector_model
    return model, SharedFile(own.name, _share(out, own.read_bytes())) if own else None


def recognizer_of(work: WorkerRun) -> Recognizer:
    """The recognizer for a run, one thread, made once in a process.

    Raises:
        MienError: another version of mien; the model cannot be had or used.
    """
    if work.version != __version__:
        raise StoreError(
            f"this worker has mien {__version__}, and the run was planned with {work.version}; install the same "
            "version everywhere"
        )
    return _recognizer(pickle.dumps(work))


def recognizer_for(job: Job) -> Recognizer:
    """The recognizer for a job, one thread, made once in a process."""
    return _made(pickle.dumps(replace(job, threads=1, drawing=None)))


# Both by what is sent to workers: what a job may hold, such as a prior's shares, has no hash.
@lru_cache(maxsize=2)
def _recognizer(pickled: bytes) -> Recognizer:
    work: WorkerRun = pickle.loads(pickled)
    own = _fetched(work.out, work.detector_model) if work.detector_model else None
    return recognizer_for(replace(work.job, model=str(_fetched(work.out, work.model)), detector_model=own))


@lru_cache(maxsize=2)
def _made(pickled: bytes) -> Recognizer:
    job: Job = pickle.loads(pickled)
    recognizer = job.recognizer()
    if opencv := sys.modules.get("cv2"):  # where a detector uses it
        cast(Any, opencv).setNumThreads(1)  # as many workers as cores: more threads get in each other's way
    return recognizer


def _share(out: str, data: bytes) -> str:
    sha256 = hashlib.sha256(data).hexdigest()
    open_store(out).create(f"{FILES}/{sha256}", data)
    return sha256


def _fetched(out: str, file: SharedFile) -> Path:
    """A file of the run in this machine's cache."""
    folder = Path(platformdirs.user_cache_dir("mien")) / "shared" / file.sha256
    path = folder / file.name
    _fetch(out, file.sha256, path)
    if file.sidecar_sha256:
        _fetch(out, file.sidecar_sha256, path.with_name(path.stem + ".manifest.json"))
    return path


def _fetch(out: str, sha256: str, path: Path) -> None:
    try:
        if hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
            return
    except OSError:
        pass
    try:
        data = open_store(out).read(f"{FILES}/{sha256}")
    except FileNotFoundError:
        raise StoreError(f"{out}: the run's file {path.name} ({sha256}) is gone; plan the run again") from None
    if (found := hashlib.sha256(data).hexdigest()) != sha256:
        raise BundleMismatch(f"{out}/{FILES}/{sha256}: the file was altered: found sha256 {found}; plan the run again")
    make_folder(path.parent, StoreError)
    write_bytes(path, data, StoreError)  # several workers may do it at once; each has the same bytes


def _plain(value: object) -> Any:
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in cast("Mapping[object, object]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in cast("list[object]", value)]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
