"""What `mien compress` does: a bundle -> a smaller and faster one, and what that costs.

First the inner channels of the blocks are pruned and the rest is fine-tuned, then the convolutions go into int8; either
may be left out. Both models are measured on the same pictures and timed in turns, so that their ratio holds on a busy
machine too.
"""

from __future__ import annotations

import hashlib
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import TrainingError
from mien.measure.intervals import Estimate
from mien.model.bundle import Bundle, GoldenVectors, load_bundle, write_bundle
from mien.model.manifest import PEOPLE, Manifest, TrainingInfo
from mien.model.session import Session
from mien.output.files import check_bundle_path
from mien.progress import SILENT, Progress
from mien_train.bundles.derived import finish
from mien_train.bundles.measured import AnswerQuality, quality, session_logits
from mien_train.bundles.prune import fine_tuning, parent_recipe, prune
from mien_train.bundles.quantize import quantize
from mien_train.bundles.to_onnx import AnswerColumns, DeployedNetwork, created_now, to_onnx
from mien_train.data.packs import TrainingData, load_training_data
from mien_train.run.finished_run import open_run
from mien_train.run.train import run as train_run

CALIBRATION_CROPS = 320
"""Training crops that give the activations' ranges; as many others choose the method."""

INT8_TOLERANCE = 0.02
"""Largest difference of a golden probability in int8. Sums are exact there, but a float that is rounded the other way
moves an activation by a step: between ONNX Runtime's int8 kernels and the same graph in floats, golden probabilities of
three networks differed by up to 0.003. Sums that saturate, as those of 8-bit weights may, moved them by 0.04."""

BATCHES = (1, 64)
SECONDS = 2.0
"""So long each batch size is timed."""


@dataclass(frozen=True)
class ModelMeasurements:
    """One model.

    Attributes:
        qualities: of each answer, the default first, on the validation pictures that do not stand in training.
        megabytes: of the file.
        rates: pictures/s on one thread, for each of `BATCHES`.
    """

    qualities: tuple[AnswerQuality, ...]
    megabytes: float
    rates: tuple[float, ...]


@dataclass(frozen=True)
class Compression:
    """Before and after; `bundle` is None where more than `max_drop` points were lost, and nothing was written."""

    steps: dict[str, Any]
    samples: int
    before: ModelMeasurements
    after: ModelMeasurements
    max_drop: float
    bundle: Bundle | None

    @property
    def lost(self) -> float:
        """Points lost of the answer that lost most; negative where all won some."""
        return max(_lost(a, b) for a, b in zip(self.before.qualities, self.after.qualities, strict=True))

    def lines(self) -> list[str]:
        """The table, for people."""
        a, b = self.before, self.after
        rows = [("", "before", "after", "")]
        for x, y in zip(a.qualities, b.qualities, strict=True):
            rows.append((x.title, _percent(x.value), _percent(y.value), _points(-_lost(x, y))))
            if x.measure == "accuracy":  # a calibration error is one against labels
                won = 100 * (y.calibration_error - x.calibration_error)
                rows.append(
                    ("calibration error", f"{x.calibration_error:.2%}", f"{y.calibration_error:.2%}", _points(won))
                )
        rows.append(
            ("size, MB", f"{a.megabytes:.2f}", f"{b.megabytes:.2f}", f"{a.megabytes / b.megabytes:.1f} x smaller")
        )
        for batch, x, y in zip(BATCHES, a.rates, b.rates, strict=True):
            rows.append((f"pictures/s, batch {batch}", f"{x:.0f}", f"{y:.0f}", f"{y / x:.1f} x"))
        return [
            *(f"{label:22}  {x:>21}  {y:>21}  {change:>14}".rstrip() for label, x, y, change in rows),
            f"on {self.samples} validation pictures that do not stand in training, with 95 % intervals; speed on one "
            "thread, both models in turns",
        ]


def compress(
    name: str,
    data_root: Path,
    out: Path,
    *,
    int8: bool = True,
    share: float = 0.0,
    epochs: int = 4,
    max_drop: float = 2.0,
    threads: int = 0,
    without: Path | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Compression:
    """Make a bundle smaller, measure both, and write the new one to `out` if it loses at most `max_drop` points.

    Args:
        name: a bundle that mien made: a path, or the name of a bundled model.
        data_root: the labeled folder that it was trained on.
        out: the `.onnx` file; with a `share`, the run folder of the fine-tuning lies beside it as
            `NAME-SHARE-EPOCHS.run`.
        int8: put the convolutions into int8.
        share: of the inner channels of every block, dropped; 0..1.
        epochs: of fine-tuning after that.
        max_drop: points of accuracy that may be lost.
        threads: CPU threads to fine-tune on; 0 takes every core.
        without: a CSV of pictures to leave out, as in training.
        overwrite: replace `out`.
        progress: is told what is being done, and how much of it is.

    Raises:
        TrainingError: not a bundle that can be compressed so, or other classes in the data than in the bundle.
        OutputError: `out` exists.
    """
    parent = load_bundle(name)
    _check(parent, out, int8, share, overwrite)
    with tempfile.TemporaryDirectory() as folder:
        # Named by what is asked for: other words after a refusal begin another run, the same go on with this one.
        work = out.with_name(f"{out.stem}-{share:g}-{epochs}.run") if share else Path(folder)
        data = load_training_data(
            data_root, parent.manifest.input, work / "cache", progress,
            without,
        )  # fmt: skip
        classes = parent.manifest.label_answer.classes
        if data.train.classes != classes:
            raise TrainingError(
                f"{data_root}: expected the bundle's classes ({', '.join(classes)}), found "
                f"{', '.join(data.train.classes)}"
            )
        made = f"mien compress {name} --data {data_root}" + (f" --prune {share:g} --epochs {epochs}" if share else "")
        made += "" if int8 else " --no-int8"
        steps: dict[str, Any] = {}
        graph, training = parent.model, parent.manifest.training
        if share:
            graph, training = _pruned(parent, data_root, data, work, share, epochs, threads, without, progress)
            steps |= {"pruned": share, "epochs": epochs}
        if int8:
            progress.update("quantizing", 0, 1)
            graph, method = _quantized(graph, parent.manifest, data)
            steps |= {"int8": method, "calibration_crops": CALIBRATION_CROPS}
        manifest = _manifest(parent, training, out.stem, steps)
        return _finish(parent, graph, manifest, data, out, steps, max_drop, f"{made} --out {out}", progress)


def _check(parent: Bundle, out: Path, int8: bool, share: float, overwrite: bool) -> None:
    if not (int8 or share):
        raise TrainingError("nothing to do: expected int8, or a share to prune")
    if not parent.sealed:
        raise TrainingError(f"{parent.path}: expected a bundle that mien made, found a model without a seal")
    check_bundle_path(out, overwrite=overwrite)


def _pruned(
    parent: Bundle, root: Path, data: TrainingData, work: Path, share: float, epochs: int, threads: int,
    without: Path | None, progress: Progress,
) -> tuple[bytes, TrainingInfo]:  # fmt: skip
    """The graph, in floats, of the pruned and fine-tuned network, and where its weights come from."""
    recipe = fine_tuning(parent_recipe(parent), share, epochs)
    start = work / "pruned.pt"
    if not start.exists():  # else an interrupted run goes on
        prune(parent, recipe, data, start)
    train_run(
        root,
        work,
        recipe,
        threads,
        initial=start,
        without=without,
        teachers=[parent.path],
        progress=progress,
    )
    tuned = open_run(work)
    noted = {k: tuned.about[k] for k in ("initial_weights_sha256", "teachers_sha256")}
    training = parent.manifest.training.model_copy(
        update={
            "recipe": {**tuned.about["recipe"], **noted}, "seed": recipe.seed, "code": tuned.about.get("git_commit", "")
        }
    )  # fmt: skip
    count, answers = len(tuned.classes), parent.manifest.answers
    people = next((AnswerColumns(count, len(a.classes), 1.0) for a in answers if a.name == PEOPLE), None)
    return to_onnx(DeployedNetwork(tuned.network, count, 1.0, people), tuned.spec, answers), training


def _quantized(graph: bytes, manifest: Manifest, data: TrainingData) -> tuple[bytes, str]:
    rows = data.train_rows[:: max(len(data.train_rows) // (2 * CALIBRATION_CROPS), 1)]  # over all classes
    images = np.array(data.train.images[rows[: 2 * CALIBRATION_CROPS]])
    return quantize(graph, manifest, images[::2], images[1::2])


def _manifest(parent: Bundle, training: TrainingInfo, name: str, steps: dict[str, Any]) -> Manifest:
    """The parent's, with another name and where the model comes from; what is measured follows later."""
    lineage = {
        "recipe": {**training.recipe, "compression": steps},
        "parent_sha256": hashlib.sha256(parent.model).hexdigest(),  # of the file: any tool can check it
    }
    return parent.manifest.model_copy(
        update={
            "name": name, "created": created_now(), "training": training.model_copy(update=lineage),
            "weights_sha256": "",
        }
    )  # fmt: skip


def _finish(
    parent: Bundle, graph: bytes, manifest: Manifest, data: TrainingData, out: Path, steps: dict[str, Any],
    max_drop: float, command: str, progress: Progress,
) -> Compression:  # fmt: skip
    """Measure both, and write what lost little enough."""
    progress.update("measuring", 0, 1)
    tolerance = INT8_TOLERANCE if "int8" in steps else GoldenVectors.tolerance
    bundle, golden, qualities = finish(out, graph, manifest, data, command, tolerance)

    images, labels = data.validation.images, data.validation.labels
    before, after = Session(parent, threads=1), Session(bundle, threads=1)
    rows = data.clean_rows if len(data.clean_rows) else np.arange(len(labels))
    rates = [_rates(before, after, np.array(images[np.arange(n) % len(images)])) for n in BATCHES]
    size = len(bundle.model) + len(bundle.manifest.to_json()) + len(golden.to_json())
    of_parent = tuple(quality(one.answer, session_logits(one, images), data) for one in before.each_answer())
    result = Compression(
        steps,
        len(rows),
        ModelMeasurements(of_parent, len(parent.model) / 1e6, tuple(r[0] for r in rates)),
        ModelMeasurements(qualities, size / 1e6, tuple(r[1] for r in rates)),
        max_drop,
        None,
    )
    if result.lost > max_drop + 1e-9:
        return result
    return replace(result, bundle=write_bundle(out, bundle.model, bundle.manifest, golden))


def _lost(before: AnswerQuality, after: AnswerQuality) -> float:
    """Points that one answer lost."""
    return 100 * (before.value.value - after.value.value)


def _rates(before: Session, after: Session, crops: NDArray[np.uint8]) -> tuple[float, float]:
    """Pictures/s of both, in turns: medians over `SECONDS`."""
    times: tuple[list[float], list[float]] = [], []
    end = time.perf_counter() + SECONDS
    while len(times[0]) < 5 or time.perf_counter() < end:
        for session, taken in zip((before, after), times, strict=True):
            started = time.perf_counter()
            session.run(crops)
            taken.append(time.perf_counter() - started)
    return len(crops) / statistics.median(times[0]), len(crops) / statistics.median(times[1])


def _points(change: float) -> str:
    return f"{round(change, 2) + 0.0:+.2f} points"  # no minus before nothing


def _percent(e: Estimate) -> str:
    return f"{e.value:.2%} [{100 * e.low:.1f}, {100 * e.high:.1f}]"
