"""What every derived graph needs before it is a bundle: a temperature, measurements, golden vectors, and a check."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from mien.errors import TrainingError
from mien.model.bundle import Bundle, GoldenVectors
from mien.model.manifest import Answer, Manifest, Metric
from mien.model.session import Session
from mien.model.verify import verify_bundle
from mien_train.bundles.measured import AnswerQuality, calibrate, measure_answer, quality, session_logits
from mien_train.bundles.quantize import with_temperature
from mien_train.bundles.to_onnx import drawn_crops, without_traces
from mien_train.data.packs import TrainingData


def finish(
    out: Path, graph: bytes, manifest: Manifest, data: TrainingData, command: str, tolerance: float
) -> tuple[Bundle, GoldenVectors, tuple[AnswerQuality, ...]]:
    """Fit each answer's temperature on validation, measure it, and draw golden vectors. Nothing is written.

    Args:
        out: where the bundle will lie.
        graph: ONNX with, of each answer, the probabilities, a softmax, and the logits.
        manifest: without calibration and metrics.
        data: what to measure on.
        command: that gives the measurements again.
        tolerance: of the golden vectors.

    Returns:
        the bundle, its golden vectors, and how good each answer is, the default first.

    Raises:
        TrainingError: the runtime does not compute what the graph says.
    """
    session = Session(Bundle(out, graph, manifest, None, sealed=False), threads=1)
    answers: list[Answer] = []
    metrics: list[Metric] = []
    qualities: list[AnswerQuality] = []
    for one in session.each_answer():
        logits = session_logits(one, data.validation.images)
        answer = calibrate(one.answer, logits, data)
        graph = with_temperature(graph, answer.outputs, answer.calibration.temperature)
        answers.append(answer)
        metrics += measure_answer(answer, logits, data, command)
        qualities.append(quality(answer, logits, data))
    graph = without_traces(onnx.load_model_from_string(graph)).SerializeToString()  # older bundles have some
    manifest = manifest.with_answers(answers).model_copy(update={"metrics": tuple(metrics)})
    golden = _golden(graph, manifest, tolerance)
    bundle = Bundle(out, graph, manifest, golden, sealed=False)
    failed = [check.detail for check in verify_bundle(bundle, threads=1) if check.passed is False]
    if failed:
        raise TrainingError(f"the new graph does not compute what it should here: {failed[0]}")
    return bundle, golden, tuple(qualities)


def _golden(graph: bytes, manifest: Manifest, tolerance: float) -> GoldenVectors:
    """Golden vectors as the graph is written: in floats between its roundings, without any kernel for int8."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    crops = drawn_crops(manifest.input)
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    names = [answer.outputs.probabilities for answer in manifest.all_answers]
    found = [np.asarray(f, np.float32) for f in session.run(names, {manifest.input.name: crops})]
    others = {a.name: f for a, f in zip(manifest.all_answers[1:], found[1:], strict=True)}
    return GoldenVectors(crops, found[0], tolerance, others)
