"""A finished run -> a bundle: the crop is calibrated, the network converted, and what was converted is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mien.detect import default_detector_name, make_detector
from mien.errors import TrainingError
from mien.model.bundle import Bundle, write_bundle
from mien.model.manifest import DEFAULT_FRAMING, Calibration, CropSpec, Framing, Manifest, TrainingInfo
from mien.model.session import Session
from mien.output.files import check_bundle_path
from mien_train.bundles.measured import fit_temperature, measure, session_logits
from mien_train.bundles.to_onnx import Deployed, created_now, make_golden, to_onnx
from mien_train.data.framing import FramingReport, measure_framing
from mien_train.data.packs import EXCLUDED_FILE, Pack, load_training_data
from mien_train.data.tensors import predict_logits
from mien_train.recipe import Recipe
from mien_train.run.finished_run import open_run


@dataclass(frozen=True)
class Exported:
    """A written bundle, how its crop was calibrated for each detector, and what was guessed about the network."""

    bundle: Bundle
    framings: dict[str, FramingReport]
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """What was measured, for people."""
        size = len(self.bundle.model) / 1e6
        lines = [f"{self.bundle.path}: {size:.1f} MB, classes {', '.join(self.bundle.manifest.classes)}"]
        lines += [f"assumed: {note}" for note in self.notes]
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
