"""Weights that a user trained (`face_expression.pth`) -> a bundle.

The course saves `model.state_dict()` alone: it says neither which network it belongs to nor what its outputs mean. The
caller says so, and it is checked against the file before anything is made of it.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.dataset import Split, has_split, read_split
from mien.errors import DatasetError
from mien.measure.metrics import accuracy, log_loss
from mien.model.bundle import Bundle, write_bundle
from mien.model.manifest import (
    Calibration,
    Manifest,
    Metric,
    TrainingInfo,
)
from mien.model.session import Session, softmax
from mien.output.files import check_bundle_path
from mien.progress import SILENT, Progress
from mien_train.bundles.export_run import Exported
from mien_train.bundles.measured import cross_fitted_ece, fit_temperature, session_logits
from mien_train.bundles.to_onnx import DeployedNetwork, created_now, make_golden, to_onnx_checked
from mien_train.data.packs import pack
from mien_train.data.tensors import predict_logits
from mien_train.networks.custom_network import CustomNetwork, CustomOptions, open_custom_network
from mien_train.networks.emotion_net import COURSE_CROP


def export_weights(
    path: Path,
    out: Path,
    told: CustomOptions,
    *,
    name: str = "",
    data_root: Path | None = None,
    about_data: str = "",
    license: str = "",
    command: str = "",
    created: str = "",
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Exported:
    """Turn a user's weights into a bundle.

    Args:
        path: a state dict, as `torch.save(model.state_dict(), path)` writes it. It is never unpickled as an object.
        out: the `.onnx` file to write.
        told: what is known of the weights: see `open_custom_network`.
        name: in the manifest; default: the file's.
        data_root: a labeled folder; its validation split fits the temperature and is measured. Without it the
            temperature is 1 and the manifest has no metrics.
        about_data: what the weights were trained on, for the manifest.
        license: terms of data and weights, for the manifest.
        command: that gives the measurements again, for the manifest.
        created: the time in the manifest; default: now.
        overwrite: replace `out`.
        progress: is told how far it is.

    Raises:
        OutputError: `out` is taken, or no bundle's name.
        TrainingError: see `open_custom_network`; the graph does not compute what the network does.
        DatasetError: `data_root` has no validation split, or lacks one of the classes.
    """
    check_bundle_path(out, overwrite=overwrite)
    if data_root and not has_split(data_root, "validation"):
        raise DatasetError(f"{data_root}: no folder 'validation'; measuring needs validation/<class>/")
    custom = open_custom_network(path, told, read_split(data_root, "validation").classes if data_root else ())
    measured = _read_measured(data_root, custom, progress) if data_root else None
    manifest = _manifest(custom, name or path.stem, created or created_now(), about_data, license)
    temperature = 1.0
    if measured:
        progress.update("measuring", 0, 1)
        temperature = fit_temperature(predict_logits(custom.network, measured.images, "fp32").numpy(), measured.labels)
    progress.update("converting", 0, 1)
    deployed = DeployedNetwork(custom.network, len(custom.classes), temperature)
    graph = to_onnx_checked(deployed, custom.input)
    if measured:
        # What is measured is what ships: the converted graph, in the runtime that will run it.
        logits = session_logits(Session(Bundle(out, graph, manifest, None, sealed=False)), measured.images)
        calibration = Calibration(temperature=temperature, split="validation")
        metrics = tuple(_measure(logits, temperature, measured, command))
        manifest = manifest.model_copy(update={"calibration": calibration, "metrics": metrics})
    written = write_bundle(out, graph, manifest, make_golden(deployed, custom.input))
    return Exported(written, {}, custom.notes)


def _manifest(custom: CustomNetwork, name: str, created: str, about_data: str, license: str) -> Manifest:
    return Manifest(
        name=name,
        created=created,
        classes=custom.classes,
        input=custom.input,
        crop=COURSE_CROP,
        training=TrainingInfo(data=about_data, license=license, recipe=custom.recipe),
    )


@dataclass(frozen=True)
class _ValidationSplit:
    """A validation split in memory; `clean_rows` do not stand in the training split (None where there is none)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    clean_rows: NDArray[np.int64] | None


def _read_measured(root: Path, custom: CustomNetwork, progress: Progress) -> _ValidationSplit:
    classes, spec = custom.classes, custom.input
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        split = _only(read_split(root, "validation"), classes)
        validation = pack(split, spec, cache, progress)
        clean = None
        if has_split(root, "train"):
            train = _only(read_split(root, "train"), classes)
            seen = set(pack(train, spec, cache, progress).keys)
            clean = np.flatnonzero([key not in seen for key in validation.keys])
        return _ValidationSplit(np.array(validation.images), validation.labels, clean)


def _only(split: Split, classes: tuple[str, ...]) -> Split:
    """The samples of these classes, in this order of classes; other classes of the data set do not matter."""
    missing = [c for c in classes if c not in split.classes]
    if missing:
        raise DatasetError(
            f"{split.root}, split {split.name}: no class {', '.join(missing)}; found {', '.join(split.classes)}"
        )
    return replace(split, classes=classes, samples=tuple(s for s in split.samples if s.label in classes))


def _measure(logits: NDArray[np.float32], temperature: float, data: _ValidationSplit, command: str) -> list[Metric]:
    probabilities = softmax(logits / temperature)
    everything = np.arange(len(data.labels))
    splits = {"validation": everything}
    if data.clean_rows is not None and len(data.clean_rows):
        splits["validation without pictures repeated in training"] = data.clean_rows
    metrics: list[Metric] = []
    for split, rows in splits.items():
        truth, p = data.labels[rows], probabilities[rows]
        values = {"accuracy": accuracy(truth, p), "log loss": log_loss(truth, p)}
        if len(rows) > 1:
            values["calibration error (cross-fitted)"] = cross_fitted_ece(logits[rows], truth)
        metrics += [
            Metric(name=name, value=round(value, 4), split=split, samples=len(rows), command=command)
            for name, value in values.items()
        ]
    return metrics
