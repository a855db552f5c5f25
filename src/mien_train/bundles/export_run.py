"""A finished run -> a bundle: the crop is calibrated, the network converted, and what was converted is measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mien.detect import default_detector_name, make_detector
from mien.errors import TrainingError
from mien.model.bundle import Bundle, write_bundle
from mien.model.manifest import DEFAULT_FRAMING, Answer, CropSpec, Framing, Manifest, Metric, TrainingInfo
from mien.model.session import Session
from mien.output.files import check_bundle_path
from mien.progress import SILENT, PartOfProgress, Progress
from mien_train.bundles.answers import answers_of
from mien_train.bundles.measured import calibrate, measure_answer, session_logits
from mien_train.bundles.to_onnx import AnswerColumns, DeployedNetwork, created_now, make_golden, to_onnx
from mien_train.data.framing import FramingReport, measure_framing
from mien_train.data.packs import EXCLUDED_FILE, Pack, TrainingData, load_training_data
from mien_train.data.tensors import predict_logits
from mien_train.recipe import Recipe
from mien_train.run.finished_run import FinishedRun, open_run

CASCADE_CROPS = 300
"""Training crops that calibrate the margin of `haar`, at most. It takes four times as long for a crop as the default
detector, and its boxes come in steps of 30 %. Four sets of 300 gave margins of 1.049 to 1.061, 1,200 gave 1.055."""


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
        for m in self.bundle.manifest.metrics:
            answer = f"answer {m.answer}, " if m.answer else ""
            lines.append(f"{m.name:38} {m.value:7.4f}  ({answer}{m.samples} samples, {m.split})")
        return lines


def export_run(
    run_folder: Path,
    data_root: Path,
    out: Path,
    name: str,
    about_data: str,
    license: str,
    crops: int,
    overwrite: bool = False,
    label_answer: str = "labels",
    module: str = "",
    progress: Progress = SILENT,
) -> Exported:
    """Calibrate, convert, measure what was converted, and write the bundle.

    A run with `votes_weight` gives two answers: `people`, the default, and `label_answer`, what the labels say. Others
    give one, without a name.

    Raises:
        OutputError: `out` is taken, or no bundle's name.
        TrainingError: the run is not finished, or `data_root` is not what it was trained on.
    """
    check_bundle_path(out, overwrite=overwrite)
    run = open_run(run_folder, module)
    about, recipe, spec = run.about, run.recipe, run.spec
    excluded = run_folder / EXCLUDED_FILE
    data = load_training_data(data_root, spec, run_folder / "cache", without=excluded if excluded.exists() else None)
    if data.fingerprint != about["data_fingerprint"]:
        raise TrainingError(
            f"{data_root} is not what {run_folder} was trained on (fingerprint {data.fingerprint}, expected "
            f"{about['data_fingerprint']})"
        )
    framings = _calibrate_crop(data.train, recipe, crops, progress)

    manifest = Manifest(
        name=name,
        created=created_now(),
        classes=data.train.classes,
        input=spec,
        crop=CropSpec(align=recipe.align, framings=_framings(framings)),
        training=TrainingInfo(
            data=about_data,
            license=license,
            recipe={
                **about["recipe"],
                **{k: about.get(k, "") for k in ("initial_weights_sha256", "teachers_sha256")},
            },
            seed=recipe.seed,
            code=about.get("git_commit", ""),
        ),
    )
    command = f"mien export {run_folder} --data {data_root}"
    command += f" --label-answer {label_answer}" if recipe.votes_weight and label_answer != "labels" else ""
    progress.update("converting and measuring", 0, 1)
    return Exported(_write(out, run, data, manifest, label_answer, command), framings)


def _write(
    out: Path, run: FinishedRun, data: TrainingData, manifest: Manifest, label_answer: str, command: str
) -> Bundle:
    """Fit the temperatures, convert, measure and write; `manifest` has none of these yet."""
    classes, columns = len(run.classes), predict_logits(run.network, data.validation.images, "fp32").numpy()
    people, labels = None, calibrate(manifest.answer(), columns[:, :classes], data)
    answers: tuple[Answer, ...] = (labels,)
    if run.recipe.votes_weight:
        plain = answers_of(run.classes, data, label_answer)
        halves = columns[:, classes:], columns[:, :classes]
        answers = tuple(calibrate(a, half, data) for a, half in zip(plain, halves, strict=True))
        people, labels = AnswerColumns(classes, classes, answers[0].calibration.temperature), answers[1]
    deployed = DeployedNetwork(run.network, classes, labels.calibration.temperature, people)
    graph, manifest = to_onnx(deployed, run.spec, answers), manifest.with_answers(answers)
    # What is measured is what ships: the converted graph, in the runtime that will run it.
    metrics: list[Metric] = []
    for one in Session(Bundle(out, graph, manifest, None, sealed=False)).each_answer():
        metrics += measure_answer(one.answer, session_logits(one, data.validation.images), data, command)
    manifest = manifest.model_copy(update={"metrics": tuple(metrics)})
    return write_bundle(out, graph, manifest, make_golden(deployed, run.spec, answers))


def _calibrate_crop(train: Pack, recipe: Recipe, crops: int, progress: Progress) -> dict[str, FramingReport]:
    """One framing for each detector that needs no file: the default, and the course's cascade."""
    rows = np.random.default_rng(recipe.seed).permutation(len(train.labels))[:crops]
    counts = {default_detector_name(): len(rows), "haar": min(len(rows), CASCADE_CROPS)}
    reports: dict[str, FramingReport] = {}
    before = 0
    for name, count in counts.items():
        reports[name] = measure_framing(
            train.images[np.sort(rows[:count])],
            make_detector(name),
            recipe.align,
            PartOfProgress(progress, "calibrating the crop", before=before, total=sum(counts.values())),
        )
        before += count
    return reports


def _framings(reports: dict[str, FramingReport]) -> dict[str, Framing]:
    measured = {name: report.framing for name, report in reports.items()}
    return {DEFAULT_FRAMING: measured[default_detector_name()], **measured}
