"""Labeled pictures -> arrays in memory maps: decoded once, through the same crop that inference uses."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.checked_json import read_checked_json, write_checked_json
from mien.dataset import Sample, Split, check_training_data, exclude, open_dataset
from mien.dataset.fingerprint import pixel_key
from mien.errors import DatasetError, MediaError, TrainingError, reason
from mien.files import creating_folder, make_folder, replacing
from mien.media.image import read_image
from mien.model.crop import cut, whole_face
from mien.model.manifest import CropSpec, InputSpec
from mien.progress import SILENT, PartOfProgress, Progress

_log = logging.getLogger("mien")

PACK_VERSION = 1

EXCLUDED_FILE = "excluded.csv"
"""In a run folder: what `--exclude` left out of its data, so that nobody needs the list again."""


@dataclass(frozen=True)
class Pack:
    """One split, decoded.

    Attributes:
        images: uint8 `[N, H, W, C]`, a read-only memory map.
        samples: the N samples.
        labels: int64 `[N]`, index into `classes`.
        votes: float32 `[N, K]`, counts; a row of zeros where there are no votes.
        keys: `[N]`, `pixel_key` of each picture.
        failed: pictures that could not be read, each with its reason.
    """

    classes: tuple[str, ...]
    images: NDArray[np.uint8]
    samples: tuple[Sample, ...]
    labels: NDArray[np.int64]
    votes: NDArray[np.float32]
    keys: tuple[str, ...]
    failed: tuple[str, ...]


@dataclass(frozen=True)
class TrainingData:
    """Training and validation, and which samples of each are used.

    `train_rows` leaves out pictures that also stand in validation, pixel for pixel; `clean_rows` are the validation
    pictures that do not stand in training. `excluded` are the paths, relative to the data set, that a list left out.
    """

    train: Pack
    validation: Pack
    train_rows: NDArray[np.int64]
    clean_rows: NDArray[np.int64]
    fingerprint: str = field(default="")
    excluded: tuple[str, ...] = ()


def _from(root: Path, path: Path) -> str:
    return Path(os.path.relpath(path, root)).as_posix()


def load_training_data(
    root: Path,
    target: InputSpec,
    cache: Path,
    progress: Progress = SILENT,
    without: Path | None = None,
) -> TrainingData:
    """Decode `root`'s train and validation splits for `target`, or take them from `cache`.

    `without` is a CSV of pictures to leave out of either split: see `mien.dataset.exclude`.

    Raises:
        DatasetError: a split is missing, the two are one folder, or their classes differ.
    """
    check_training_data(root)
    splits = open_dataset(root, "train"), open_dataset(root, "validation")
    if splits[0].classes != splits[1].classes:
        odd = sorted(set(splits[0].classes) ^ set(splits[1].classes))
        raise DatasetError(
            f"{root}: class {', '.join(odd)} stands in only one of train and validation; both need every class"
        )
    whole = [s.path for split in splits for s in split.samples]
    if without:
        splits = exclude(splits[0], without), exclude(splits[1], without)
    kept = {s.path for split in splits for s in split.samples}
    total = len(splits[0]) + len(splits[1])
    train = pack(splits[0], target, cache, PartOfProgress(progress, "decoding", total=total))
    validation = pack(
        splits[1], target, cache, PartOfProgress(progress, "decoding", before=len(splits[0]), total=total)
    )
    train_keys, validation_keys = set(train.keys), set(validation.keys)
    return TrainingData(
        train,
        validation,
        np.flatnonzero([k not in validation_keys for k in train.keys]),
        np.flatnonzero([k not in train_keys for k in validation.keys]),
        _digest(
            "".join(train.keys)
            + "".join(validation.keys)
            + train.labels.tobytes().hex()
            + validation.labels.tobytes().hex()
        ),
        tuple(_from(splits[0].root, path) for path in whole if path not in kept),
    )


def kept(path: Path, make: Callable[[], NDArray[np.float32]]) -> NDArray[np.float32]:
    """The array in the file `path` (.npz, whose parts carry checksums); made first where it is missing or damaged."""
    if path.exists():
        try:
            with np.load(path, allow_pickle=False) as stored:
                return stored["values"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            _log.warning("%s: damaged (%s); it is made again", path, reason(error))
    made = make()
    make_folder(path.parent, TrainingError)
    with replacing(path, TrainingError) as temporary, temporary.open("wb") as file:
        np.savez(file, values=made)
    return made


def soft_targets(data: Pack, label_share: float, smoothing: float) -> NDArray[np.float32]:
    """Training targets `[N, K]`, rows summing to 1: `label_share` x label + the rest x votes.

    A sample without votes for any of the classes has the label alone. `smoothing` moves that share to the uniform.
    """
    labels = np.eye(len(data.classes), dtype=np.float32)[data.labels]
    counts = data.votes.sum(axis=1, keepdims=True)
    mixed = label_share * labels + (1 - label_share) * data.votes / np.maximum(counts, 1)
    return ((1 - smoothing) * np.where(counts > 0, mixed, labels) + smoothing / len(data.classes)).astype(np.float32)


def pack(split: Split, target: InputSpec, cache: Path, progress: Progress = SILENT) -> Pack:
    """Decode one split into `cache` (memory grows with nothing but the labels), or reuse what stands there."""
    folder = cache / f"{split.name}-{_pack_key(split, target)}"
    about = _read_pack(folder)
    if about is None:
        _write_pack(split, target, folder, progress)
        about = _read_pack(folder)
    if about is None:
        raise TrainingError(f"{folder}: what was just written there is damaged; look after the disk")
    rows = np.asarray(about["rows"], np.int64)
    images = np.load(folder / "images.npy", mmap_mode="r")[: len(rows)]
    samples = [split.samples[i] for i in rows]
    index = {name: i for i, name in enumerate(split.classes)}
    return Pack(
        split.classes,
        images,
        tuple(samples),
        np.array([index[s.label] for s in samples], np.int64),
        np.array([[s.votes.get(c, 0) for c in split.classes] for s in samples], np.float32).reshape(
            -1, len(split.classes)
        ),
        tuple(about["keys"]),
        tuple(about["failed"]),
    )


def _read_pack(folder: Path) -> dict[str, Any] | None:
    """What a pack says of itself; None if there is none, or a damaged one, which is removed."""
    about, images = folder / "pack.json", folder / "images.npy"
    if not folder.exists():
        return None
    try:
        found = read_checked_json(about)
        if found["images_crc32"] != _crc(images):
            raise ValueError(f"{images.name} does not match its checksum")
    except KeyError:
        pass  # written before there were checksums
    except (OSError, ValueError) as error:
        _log.warning("%s: damaged (%s); it is made again", folder, reason(error))
    else:
        return found
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise TrainingError(f"{folder}: damaged, and cannot be removed ({reason(error)}); remove it") from error
    return None


def _crc(path: Path) -> int:
    crc = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            crc = zlib.crc32(block, crc)
    return crc


def _write_pack(split: Split, target: InputSpec, folder: Path, progress: Progress) -> None:
    make_folder(folder.parent, TrainingError)
    with creating_folder(folder, TrainingError) as begun:
        about = _write_images(split, target, begun / "images.npy", progress)
        about["images_crc32"] = _crc(begun / "images.npy")
        write_checked_json(begun / "pack.json", about, TrainingError)


def _write_images(split: Split, target: InputSpec, path: Path, progress: Progress) -> dict[str, object]:
    """Decode into the file `path`; the result says which samples stand there, and what failed."""
    shape = (len(split), target.height, target.width, target.channels)
    images = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
    _reserve(path)
    rows: list[int] = []
    keys: list[str] = []
    failed: list[str] = []
    for i, sample in enumerate(split.samples):
        try:
            frame = next(read_image(sample.path))
        except MediaError as error:
            failed.append(str(error))
        else:
            images[len(rows)] = cut(frame.pixels, [whole_face(frame.pixels)], CropSpec(), target)[0]
            rows.append(i)
            keys.append(pixel_key(frame.pixels))
        progress.update(f"decoding {split.name}", i + 1, len(split))
    if not rows:
        raise DatasetError(
            f"{split.root}, split {split.name}: none of {len(split)} pictures can be read; the first: {failed[0]}"
        )
    images.flush()  # and closed here: an open file cannot be moved everywhere
    return {"rows": rows, "keys": keys, "failed": failed}


def _reserve(path: Path) -> None:
    """Take the file's room on the disk. Where there is none, to write into the mapped file would kill the process."""
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return  # a file system that cannot do so
        size = path.stat().st_size / 1e6
        raise DatasetError(f"{path.parent.parent}: no room for {size:.0f} MB of pictures ({reason(error)})") from error


def _pack_key(split: Split, target: InputSpec) -> str:
    """Changes with the pictures (path, size, time of change) and with what is cut from them."""
    lines = [f"{PACK_VERSION} {target.model_dump_json()}"]
    for sample in split.samples:
        stat = sample.path.stat()
        lines.append(f"{_from(split.root, sample.path)} {stat.st_size} {stat.st_mtime_ns}")
    return _digest("\n".join(lines))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
