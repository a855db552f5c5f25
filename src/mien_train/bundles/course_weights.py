"""Weights that a student of the SI100B course trained (`face_expression.pth`) -> a network, and a bundle.

The course saves `model.state_dict()` alone: it says neither which network it belongs to nor what its outputs mean. Both
are given by the caller, and checked against the file before anything is made of it.
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.dataset import Split, canonical, has_split, read_split
from mien.errors import DatasetError, Remedy, TrainingError, reason
from mien.measure.metrics import accuracy, log_loss
from mien.model.bundle import Bundle, write_bundle
from mien.model.manifest import (
    DEFAULT_FRAMING,
    Calibration,
    CropSpec,
    Framing,
    InputSpec,
    Manifest,
    Metric,
    TrainingInfo,
)
from mien.model.session import Session, softmax
from mien.output.files import check_bundle_path
from mien_train.bundles.export_run import Exported
from mien_train.bundles.measured import cross_fitted_ece, fit_temperature, session_logits
from mien_train.bundles.to_onnx import Deployed, created_now, make_golden, to_onnx
from mien_train.data.packs import pack
from mien_train.data.tensors import predict_logits
from mien_train.networks.networks import EmotionNet

NETWORKS = ("si100b",)
"""Networks whose weights can be taken without a run folder."""

COURSE_INPUT = InputSpec(height=48, width=48, channels=3, color="rgb")

COURSE_CROP = CropSpec(align="none", framings={DEFAULT_FRAMING: Framing(margin=1.0), "haar": Framing(margin=1.0)})
"""The course cuts the cascade's box as it is."""

_SAVE = "torch.save(model.state_dict(), 'face_expression.pth')"


def load_emotion_net(path: Path, classes: int) -> EmotionNet:
    """The course's network with the weights in `path`, ready for inference.

    Args:
        path: a state dict, as `torch.save(model.state_dict(), path)` writes it. It is never unpickled as an object.
        classes: how many the weights were trained for.

    Raises:
        TrainingError: no such file, not a state dict, weights of another network (the first difference is named), or
            for another number of classes.
    """
    state = read_state_dict(path)
    network = EmotionNet(classes)
    _check_layers(path, network.state_dict(), state)
    network.load_state_dict(state)
    return network.eval()


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Layer name -> tensor, on the CPU; see `load_emotion_net`."""
    try:
        # weights_only: a pickle may run any code when it is opened, and weights come from other people.
        found: object = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise TrainingError(
            f"{path}: no such file; expected weights saved with torch.save(model.state_dict(), {path.name!r})"
        ) from None
    except OSError as error:
        raise TrainingError(f"{path}: cannot be read ({reason(error)})") from error
    except pickle.UnpicklingError as error:
        raise TrainingError(
            f"{path}: expected a state dict, found something that only running its code could open, which mien never "
            f"does (a whole model saved with torch.save(model, ...), for instance); save {_SAVE} instead"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, AttributeError) as error:
        raise TrainingError(f"{path}: not a file of PyTorch weights, or a damaged one; save {_SAVE} again") from error
    if not isinstance(found, Mapping) or not found:
        raise TrainingError(f"{path}: expected a state dict, found {_kind(found)}; save {_SAVE}")
    state: dict[str, Tensor] = {}
    for name, value in found.items():
        if not isinstance(value, Tensor):
            raise TrainingError(
                f"{path}: expected a state dict (layer name -> tensor), found {_kind(value)} under {name!r}; save "
                f"{_SAVE}"
            )
        state[str(name)] = value
    return state


def export_weights(
    path: Path,
    network: str,
    classes: Sequence[str],
    out: Path,
    *,
    name: str = "",
    data_root: Path | None = None,
    about_data: str = "",
    licence: str = "",
    overwrite: bool = False,
) -> Exported:
    """Turn a student's weights into a bundle.

    Args:
        path: see `load_emotion_net`.
        network: one of `NETWORKS`.
        classes: their names, in the order of the network's outputs (the course's: alphabetical).
        out: the `.onnx` file to write.
        name: in the manifest; default: the file's.
        data_root: a labelled folder; its validation split fits the temperature and is measured. Without it the
            temperature is 1 and the manifest has no metrics.
        about_data: what the weights were trained on, for the manifest.
        licence: terms of data and weights, for the manifest.
        overwrite: replace `out`.

    Raises:
        OutputError: `out` is taken, or no bundle's name.
        TrainingError: see `load_emotion_net`; unknown network; classes that do not make sense.
        DatasetError: `data_root` has no validation split, or lacks one of the classes.
    """
    check_bundle_path(out, overwrite=overwrite)
    if network not in NETWORKS:
        raise TrainingError(f"unknown network {network!r}: expected one of {', '.join(NETWORKS)}")
    labels = _check_classes(classes)
    model = load_emotion_net(path, len(labels))
    measured = _read_measured(data_root, labels) if data_root else None
    manifest = Manifest(
        name=name or path.stem,
        created=created_now(),
        classes=labels,
        input=COURSE_INPUT,
        crop=COURSE_CROP,
        training=TrainingInfo(data=about_data, licence=licence, recipe={"network": {"name": network}}),
    )
    temperature = 1.0
    if measured:
        temperature = fit_temperature(predict_logits(model, measured.images, "fp32").numpy(), measured.labels)
    deployed = Deployed(model, len(labels), temperature)
    graph = to_onnx(deployed, COURSE_INPUT)
    if measured:
        # What is measured is what ships: the converted graph, in the runtime that will run it.
        logits = session_logits(Session(Bundle(out, graph, manifest, None, sealed=False)), measured.images)
        command = f"mien export {path} --network {network} --classes {','.join(labels)} --data {data_root}"
        calibration = Calibration(temperature=temperature, split="validation")
        metrics = tuple(_measure(logits, temperature, measured, command))
        manifest = manifest.model_copy(update={"calibration": calibration, "metrics": metrics})
    return Exported(write_bundle(out, graph, manifest, make_golden(deployed, COURSE_INPUT)), {})


@dataclass(frozen=True)
class _Measured:
    """A validation split in memory; `clean_rows` do not stand in the training split (None where there is none)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    clean_rows: NDArray[np.int64] | None


def _check_layers(path: Path, expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    for layer, tensor in expected.items():
        shape = tuple(tensor.shape)
        if layer not in found:
            raise TrainingError(
                f"{path}: these are not weights of network si100b: expected layer {layer!r} of shape {shape}, found no "
                f"such layer among {_some(list(found))}"
            )
        if (other := tuple(found[layer].shape)) == shape:
            if not torch.isfinite(found[layer]).all():
                raise TrainingError(f"{path}: layer {layer!r} holds values that are not finite; train again")
            continue
        if layer == "fc3.weight" and len(other) == 2 and other[1] == shape[1]:
            raise TrainingError(
                f"{path}: the network was trained for {other[0]} classes (layer {layer!r}: expected shape {shape}, "
                f"found {other}), but {shape[0]} are named; name all {other[0]}, in the order of training"
            )
        raise TrainingError(
            f"{path}: these are not weights of network si100b: layer {layer!r}: expected shape {shape}, found {other}"
        )
    if extra := [layer for layer in found if layer not in expected]:
        raise TrainingError(
            f"{path}: these are not weights of network si100b: expected {len(expected)} tensors, found also "
            f"{_some(extra)} of shape {tuple(found[extra[0]].shape)}"
        )


def _check_classes(classes: Sequence[str]) -> tuple[str, ...]:
    labels = tuple(canonical(c) for c in classes if c.strip())
    if len(labels) < 2 or len(set(labels)) != len(labels):
        raise TrainingError(
            f"expected at least two different classes, in the order of the network's outputs (happy,neutral,sad); "
            f"found {', '.join(classes) or 'none'}"
        )
    return labels


def _read_measured(root: Path, classes: tuple[str, ...]) -> _Measured:
    if not has_split(root, "validation"):
        raise DatasetError(f"{root}: no folder 'validation'; expected validation/<class>/ to measure on", Remedy.DATA)
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        validation = pack(_only(read_split(root, "validation"), classes), COURSE_INPUT, cache)
        clean = None
        if has_split(root, "train"):
            seen = set(pack(_only(read_split(root, "train"), classes), COURSE_INPUT, cache).keys)
            clean = np.flatnonzero([key not in seen for key in validation.keys])
        return _Measured(np.array(validation.images), validation.labels, clean)


def _only(split: Split, classes: tuple[str, ...]) -> Split:
    """The samples of these classes, in this order of classes; other classes of the data set do not matter."""
    missing = [c for c in classes if c not in split.classes]
    if missing:
        raise DatasetError(
            f"{split.root}, split {split.name}: no class {', '.join(missing)}; found {', '.join(split.classes)}"
        )
    return replace(split, classes=classes, samples=tuple(s for s in split.samples if s.label in classes))


def _measure(logits: NDArray[np.float32], temperature: float, data: _Measured, command: str) -> list[Metric]:
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


def _kind(value: object) -> str:
    return "an empty dictionary" if value == {} else f"an object of type {type(value).__name__}"


def _some(names: list[str]) -> str:
    return ", ".join(repr(n) for n in names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
