"""What `mien train` and `mien export` do, step by step."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mien.bundle import Bundle, write_bundle
from mien.detect import default_detector_name, make_detector
from mien.errors import TrainingError
from mien.manifest import DEFAULT_FRAMING, Calibration, CropSpec, Framing, Manifest, Metric, TrainingInfo
from mien.metrics import accuracy, expected_calibration_error, log_loss, restrict
from mien.outfile import check_bundle_path
from mien.session import Session, softmax
from mien_train.calibrate import FramingReport, fit_temperature, measure_framing
from mien_train.curves import draw_curves
from mien_train.data import EXCLUDED_FILE, Pack, TrainingData, load_training_data
from mien_train.events import Events
from mien_train.export import Deployed, created_now, make_golden, to_onnx
from mien_train.finished import open_run, read_about
from mien_train.loop import train as train_loop
from mien_train.recipe import Recipe, load_recipe, parse_recipe
from mien_train.runfolder import Epoch, read_history
from mien_train.tensors import predict_logits

COURSE_CLASSES = ("happy", "neutral", "sad")


def choose_recipe(path: Path | None, changes: dict[str, Any]) -> Recipe:
    """The recipe at `path` (a TOML file, or a run's folder), or the defaults, with the changes that are not None."""
    recipe = parse_recipe({}, "recipe")
    if path:
        recipe = parse_recipe(read_about(path)["recipe"], str(path)) if path.is_dir() else load_recipe(path)
    given = {k: v for k, v in changes.items() if v is not None}
    return parse_recipe({**recipe.model_dump(), **given}, str(path or "recipe"))


def run(
    data: Path,
    out: Path,
    recipe: Recipe,
    threads: int,
    on_epoch: Callable[[Epoch], None],
    on_step: Callable[[int, int, int], None],
    on_decode: Callable[[int, int], None],
    initial: Path | None = None,
    without: Path | None = None,
    teachers: Sequence[Path] = (),
    on_prepare: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> None:
    """Train, or resume; the curves are drawn again after every epoch, and TensorBoard's events follow.

    Args:
        threads: of this process; 0 takes every core, or this process's part of them where several train together.
    """
    together = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    torch.set_num_threads(threads or max((os.cpu_count() or 1) // together, 1))
    events = Events(out / "tensorboard")

    def after_epoch(epoch: Epoch) -> None:
        draw_curves(read_history(out), out / "curves.svg")
        events.add(epoch)
        on_epoch(epoch)

    try:
        train_loop(data, out, recipe, after_epoch, on_step, on_decode, initial, without, teachers, on_prepare)
    finally:
        events.close()


@dataclass(frozen=True)
class Exported:
    """A written bundle, and how its crop was calibrated for each detector."""

    bundle: Bundle
    framings: dict[str, FramingReport]

    def lines(self) -> list[str]:
        """What was measured, for people."""
        size = len(self.bundle.model) / 1e6
        lines = [f"{self.bundle.path}: {size:.1f} MB, classes {', '.join(self.bundle.manifest.classes)}"]
        for name, report in self.framings.items():
            lines.append(
                f"crop for {name}: margin {report.framing.margin:.3f} (IQR {report.margin_spread:.3f}), shift down "
                f"{report.framing.shift_xy[1]:+.3f} (IQR {report.shift_spread_xy[1]:.3f}), found "
                f"{report.found}/{report.tried}"
            )
        lines += [f"{m.name:38} {m.value:7.4f}  ({m.samples} samples, {m.split})" for m in self.bundle.manifest.metrics]
        return lines


def export_run(
    run_folder: Path,
    data_root: Path,
    out: Path,
    name: str,
    about_data: str,
    licence: str,
    crops: int,
    on_crop: Callable[[int, int], None],
    overwrite: bool = False,
) -> Exported:
    """Calibrate, convert, measure what was converted, and write the bundle.

    Raises:
        OutputError: `out` is taken, or no bundle's name.
        TrainingError: the run is not finished, or `data_root` is not what it was trained on.
    """
    check_bundle_path(out, overwrite=overwrite)
    run = open_run(run_folder)
    about, recipe, spec, network = run.about, run.recipe, run.spec, run.network
    excluded = run_folder / EXCLUDED_FILE
    data = load_training_data(data_root, spec, run_folder / "cache", without=excluded if excluded.exists() else None)
    if data.fingerprint != about["data_fingerprint"]:
        raise TrainingError(
            f"{data_root} is not what {run_folder} was trained on (fingerprint {data.fingerprint}, expected "
            f"{about['data_fingerprint']})"
        )
    classes = len(data.train.classes)
    framings = _calibrate_crop(data.train, recipe, crops, on_crop)

    manifest = Manifest(
        name=name,
        created=created_now(),
        classes=data.train.classes,
        input=spec,
        crop=CropSpec(align=recipe.align, framings=_framings(framings)),
        training=TrainingInfo(
            data=about_data,
            licence=licence,
            recipe={
                **about["recipe"],
                **{k: about.get(k, "") for k in ("initial_weights_sha256", "teachers_sha256")},
            },
            seed=recipe.seed,
            code=about.get("git_commit", ""),
        ),
    )
    temperature = fit_temperature(
        predict_logits(network, data.validation.images, "fp32")[:, :classes].numpy(), data.validation.labels
    )
    deployed = Deployed(network, classes, temperature)
    graph = to_onnx(deployed, spec)
    # What is measured is what ships: the converted graph, in the runtime that will run it.
    logits = session_logits(Session(Bundle(out, graph, manifest, None, sealed=False)), data.validation.images)
    manifest = manifest.model_copy(
        update={
            "calibration": Calibration(temperature=temperature, split="validation"),
            "metrics": tuple(measure(logits, temperature, data, f"mien export {run_folder} --data {data_root}")),
        }
    )
    return Exported(write_bundle(out, graph, manifest, make_golden(deployed, spec)), framings)


def _calibrate_crop(
    train: Pack, recipe: Recipe, crops: int, on_crop: Callable[[int, int], None]
) -> dict[str, FramingReport]:
    """One framing for each detector that needs no file: the default, and the course's cascade."""
    rows = np.random.default_rng(recipe.seed).permutation(len(train.labels))[:crops]
    chosen = train.images[np.sort(rows)]
    names = list(dict.fromkeys([default_detector_name(), "haar"]))
    reports: dict[str, FramingReport] = {}
    for turn, name in enumerate(names):
        reports[name] = measure_framing(
            chosen,
            make_detector(name),
            recipe.align,
            lambda done, turn=turn: on_crop(turn * len(chosen) + done, len(names) * len(chosen)),
        )
    return reports


def _framings(reports: dict[str, FramingReport]) -> dict[str, Framing]:
    measured = {name: report.framing for name, report in reports.items()}
    return {DEFAULT_FRAMING: measured[default_detector_name()], **measured}


def session_logits(session: Session, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Logits float32 `[N, K]` of uint8 `[N, H, W, C]`, in batches."""
    return np.concatenate([session.run(np.array(images[i : i + 256]))[1] for i in range(0, len(images), 256)])


def measure(logits: NDArray[np.float32], temperature: float, data: TrainingData, command: str) -> list[Metric]:
    """Accuracy and calibration on validation, whole and without the pictures that repeat in training."""
    labels, classes = data.validation.labels, data.validation.classes
    probabilities = softmax(logits / temperature)
    clean = data.clean_rows
    whole_split, clean_split = "validation", "validation without pictures repeated in training"

    def metric(name: str, value: float, split: str, samples: int) -> Metric:
        return Metric(name=name, value=round(value, 4), split=split, samples=samples, command=command)

    metrics = [
        metric("accuracy", accuracy(labels, probabilities), whole_split, len(labels)),
        metric("accuracy", accuracy(labels[clean], probabilities[clean]), clean_split, len(clean)),
        metric("log loss", log_loss(labels[clean], probabilities[clean]), clean_split, len(clean)),
        metric(
            "calibration error (cross-fitted)", cross_fitted_ece(logits[clean], labels[clean]), clean_split, len(clean)
        ),
    ]
    if set(COURSE_CLASSES) < set(classes):
        truth, part = restrict(labels[clean], probabilities[clean], [classes.index(c) for c in COURSE_CLASSES])
        metrics.append(metric("accuracy happy/neutral/sad alone", accuracy(truth, part), clean_split, len(truth)))
    return metrics


def cross_fitted_ece(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Calibration error with each half's temperature fitted on the other half: no sample judges its own fit."""
    order = np.random.default_rng(0).permutation(len(labels))
    halves = order[::2], order[1::2]
    probabilities = np.empty_like(logits)
    for mine, other in (halves, halves[::-1]):
        probabilities[mine] = softmax(logits[mine] / fit_temperature(logits[other], labels[other]))
    return expected_calibration_error(labels, probabilities)
