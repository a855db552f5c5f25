"""What every derived graph needs before it is a bundle: a temperature, measurements, golden vectors, and a check."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from mien.errors import TrainingError
from mien.model.bundle import Bundle, Golden
from mien.model.manifest import Calibration, Manifest
from mien.model.session import CPU, Session
from mien.model.verify import verify_bundle
from mien_train.bundles.measured import fit_temperature, measure, session_logits
from mien_train.bundles.quantize import with_temperature
from mien_train.bundles.to_onnx import drawn_crops, without_traces
from mien_train.data.packs import TrainingData


def finish(
    out: Path, graph: bytes, manifest: Manifest, data: TrainingData, command: str, tolerance: float
) -> tuple[Bundle, Golden, NDArray[np.float32]]:
    """Fit the temperature on validation, measure, and draw golden vectors. Nothing is written.

    Args:
        out: where the bundle will lie.
        graph: ONNX with outputs `probabilities`, a softmax, and `logits`.
        manifest: without calibration and metrics.
        data: what to measure on.
        command: that gives the measurements again.
        tolerance: of the golden vectors.

    Returns:
        the bundle, its golden vectors, and its logits float32 `[N, K]` on validation.

    Raises:
        TrainingError: the runtime does not compute what the graph says.
    """
    images, labels = data.validation.images, data.validation.labels
    logits = session_logits(Session(Bundle(out, graph, manifest, None, sealed=False), threads=1), images)
    temperature = fit_temperature(logits, labels)
    graph = with_temperature(graph, manifest, temperature)
    graph = without_traces(onnx.load_model_from_string(graph)).SerializeToString()  # older bundles have some
    manifest = manifest.model_copy(
        update={
            "calibration": Calibration(temperature=temperature, split="validation"),
            "metrics": tuple(measure(logits, temperature, data, command)),
        }
    )
    golden = _golden(graph, manifest, tolerance)
    bundle = Bundle(out, graph, manifest, golden, sealed=False)
    failed = [check.detail for check in verify_bundle(bundle, threads=1) if check.passed is False]
    if failed:
        raise TrainingError(f"the new graph does not compute what it should here: {failed[0]}")
    return bundle, golden, logits


def _golden(graph: bytes, manifest: Manifest, tolerance: float) -> Golden:
    """Golden vectors as the graph is written: in floats between its roundings, without any kernel for int8."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    crops = drawn_crops(manifest.input)
    session = onnxruntime.InferenceSession(graph, options, providers=list(CPU))
    found = session.run([manifest.outputs.probabilities], {manifest.input.name: crops})[0]
    return Golden(crops, np.asarray(found, np.float32), tolerance)
