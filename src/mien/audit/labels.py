"""Labels that a model contradicts: confident learning (Northcutt et al. 2021, arXiv 1911.00068), by cleanlab."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.audit.records import LabelCheck, Picture, WrongLabel
from mien.dataset import Split
from mien.errors import DatasetError
from mien.measure.evaluate import evaluate
from mien.media.limits import USUAL, Limits
from mien.model.session import Session
from mien.progress import SILENT, Progress


def check_labels(split: Split, session: Session, limits: Limits = USUAL, progress: Progress = SILENT) -> LabelCheck:
    """Which labels of `split` are likely wrong; the model must not have been trained on it.

    A label counts as likely wrong when both ways of pruning of the paper's section 4 (by class, by noise rate) leave
    it out. Each picture is taken as one cropped face; classes that the model does not know are passed over.

    Raises:
        DatasetError: cleanlab is not installed, fewer than two shared classes, or no picture that can be read.
    """
    try:
        cleanlab: Any = import_module("cleanlab.filter")
    except ModuleNotFoundError as error:
        raise DatasetError(
            f"this needs {error.name}, which is not installed; run: pip install 'mien[audit]'"
        ) from error
    measured = evaluate(session, split, shared_only=True, resamples=1, limits=limits, progress=progress)
    truth, probabilities, classes = measured.truth, measured.probabilities, measured.match.classes
    rows: NDArray[np.int64] = cleanlab.find_label_issues(
        truth, probabilities, filter_by="both", return_indices_ranked_by="normalized_margin", n_jobs=1
    )
    found: list[WrongLabel] = []
    for row in map(int, rows):
        best = int(probabilities[row].argmax())
        if best != truth[row]:
            found.append(
                WrongLabel(
                    Picture(split.name, measured.samples[row]),
                    classes[best],
                    float(probabilities[row, truth[row]]),
                    float(probabilities[row, best]),
                )
            )
    return LabelCheck(split.name, measured.title, measured.model_sha256, len(truth), tuple(found))
