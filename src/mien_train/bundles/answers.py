"""The answers of a bundle: what they mean, the priors that they learned, and the output that older graphs dropped.

A network with `votes_weight` has twice as many columns as classes: the first half learned the labels, the second half
how people voted. Bundles that were made before there were answers compute both and slice the second half away.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mien.errors import TrainingError
from mien.measure.agreement import votes_of
from mien.model.bundle import Bundle, GoldenVectors
from mien.model.manifest import FER2013, PEOPLE, Answer, OutputSpec
from mien_train.bundles.derived import finish
from mien_train.data.packs import TrainingData

MEANINGS = {
    PEOPLE: "How people who look at this face would vote: the share of them that expects each class.",
    FER2013: "Which label FER2013 would give: for comparison with papers, and for data labeled as FER2013 is.",
}
"""What an answer of this name means; any other says what the labels of its training data say."""

LABELS_MEANING = "Which label the training data would give."


def outputs_of(name: str, first: bool) -> OutputSpec:
    """The tensors of an answer: the default one has those that bundles with a single answer have."""
    return OutputSpec() if first else OutputSpec(probabilities=f"{name}_probabilities", logits=f"{name}_logits")


def answers_of(classes: Sequence[str], data: TrainingData, label_answer: str) -> tuple[Answer, Answer]:
    """`people` and the labels' answer, over `classes`, with the priors of the training split; uncalibrated."""
    shares = {PEOPLE: vote_shares(data, classes), label_answer: label_shares(data, classes)}
    people, labels = (
        Answer(
            name=name,
            classes=tuple(classes),
            outputs=outputs_of(name, name == PEOPLE),
            prior=as_prior(classes, shares[name]),
            meaning=MEANINGS.get(name, LABELS_MEANING),
        )
        for name in (PEOPLE, label_answer)
    )
    return people, labels


def vote_shares(data: TrainingData, classes: Sequence[str]) -> NDArray[np.float64]:
    """What the columns that learn the votes were shown in all: `[K]`; each picture that has votes counts for one."""
    votes = votes_of([data.train.samples[i] for i in data.train_rows], classes)
    voted = votes[votes.sum(axis=1) > 0]
    return (voted / np.maximum(voted.sum(axis=1, keepdims=True), 1)).sum(axis=0)


def label_shares(data: TrainingData, classes: Sequence[str]) -> NDArray[np.float64]:
    """How many training pictures carry each label: `[K]`."""
    counts = np.bincount(data.train.labels[data.train_rows], minlength=len(data.train.classes))
    return np.array([counts[data.train.classes.index(c)] for c in classes], np.float64)


def as_prior(classes: Sequence[str], counts: NDArray[np.float64]) -> dict[str, float]:
    """Class -> share, summing to 1. One picture more of each (Laplace) keeps a class that never came above 0."""
    shares = (counts + 1) / (counts + 1).sum()
    return {name: round(float(share), 6) for name, share in zip(classes, shares, strict=True)}


def has_dropped_votes(model: bytes, outputs: OutputSpec, classes: int) -> bool:
    """Whether the graph computes columns for the votes, and slices them away."""
    proto = onnx.load_model_from_string(model)
    return _columns(proto, outputs) == 2 * classes


def with_people(model: bytes, outputs: OutputSpec, classes: int, answers: Sequence[Answer]) -> bytes:
    """The graph with the columns that learned the votes as an answer of its own; nothing else changes.

    Args:
        model: ONNX, one answer, its logits sliced from twice as many columns.
        outputs: of that answer, now.
        classes: how many columns an answer has.
        answers: `people` and the labels' answer: how their tensors are called from now on.

    Raises:
        TrainingError: the graph does not slice its logits from twice as many columns.
    """
    proto = onnx.load_model_from_string(model)
    found = _columns(proto, outputs)
    if found != 2 * classes:
        raise TrainingError(
            f"expected a graph that computes {2 * classes} columns, {classes} for the labels and as many for the "
            f"votes; found {found or 'logits that are not a part of wider ones'}"
        )
    graph = proto.graph
    cut = next(node for node in graph.node if node.output[0] == outputs.logits)
    people, labels = (answer.outputs for answer in answers)
    wide = cut.input[0]
    _rename(graph, {str(outputs.logits): str(labels.logits), str(outputs.probabilities): str(labels.probabilities)})
    bounds = {"votes_from": classes, "votes_to": 2 * classes, "votes_axis": 1}
    graph.initializer.extend(numpy_helper.from_array(np.array([v], np.int64), k) for k, v in bounds.items())
    graph.node.extend(
        [
            helper.make_node("Slice", [wide, *bounds], [str(people.logits)], "slice_votes"),
            helper.make_node("Softmax", [str(people.logits)], [str(people.probabilities)], "softmax_votes", axis=-1),
        ]
    )
    names = [str(name) for o in (people, labels) for name in (o.probabilities, o.logits)]
    del graph.output[:]
    graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", classes]) for name in names)
    onnx.checker.check_model(proto)
    return proto.SerializeToString()


def remade(bundle: Bundle, data: TrainingData, label_answer: str, command: str) -> tuple[Bundle, GoldenVectors]:
    """A bundle with both answers: calibrated, measured and with golden vectors anew; nothing is written.

    Args:
        bundle: with both answers, or with one whose graph computes the votes' columns too (see `with_people`).
        data: what it was trained on, with votes.
        label_answer: what the answer by the labels is called, if the bundle does not say.
        command: that gives the measurements again.

    Raises:
        TrainingError: the graph computes no columns for the votes, or the data are of other classes.
    """
    manifest = bundle.manifest
    classes = manifest.label_answer.classes
    if data.train.classes != classes:
        raise TrainingError(f"expected data of the classes {', '.join(classes)}, found {', '.join(data.train.classes)}")
    graph, answers = bundle.model, manifest.answers
    if not answers:
        answers = answers_of(classes, data, label_answer)
        graph = with_people(graph, manifest.outputs, len(classes), answers)
    answers = [_with_prior(answer, data) for answer in answers]
    plain = manifest.with_answers(answers).model_copy(update={"name": bundle.path.stem, "weights_sha256": ""})
    tolerance = bundle.golden.tolerance if bundle.golden else GoldenVectors.tolerance
    new, golden, _ = finish(bundle.path, graph, plain, data, command, tolerance)
    return new, golden


def _with_prior(answer: Answer, data: TrainingData) -> Answer:
    shares = vote_shares if answer.name == PEOPLE else label_shares
    return answer.model_copy(update={"prior": as_prior(answer.classes, shares(data, answer.classes))})


def _columns(proto: onnx.ModelProto, outputs: OutputSpec) -> int:
    """How many columns the logits are sliced from; 0 where they are not sliced."""
    cut = next((n for n in proto.graph.node if n.output[0] == outputs.logits and n.op_type == "Slice"), None)
    head = next((n for n in proto.graph.node if cut and n.output[0] == cut.input[0] and n.op_type == "Gemm"), None)
    if head is None or len(head.input) < 3:
        return 0
    bias = next((i for i in proto.graph.initializer if i.name == head.input[2]), None)
    return int(bias.dims[0]) if bias else 0


def _rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    """Call these tensors otherwise, wherever they stand in the graph."""
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in graph.value_info:
        value.name = names.get(value.name, value.name)
