"""What `mien ensemble` does: several bundles -> one whose answer is the mean of theirs.

Networks that were trained apart err apart; the mean of what they say is right more often than each of them. The graphs
lie side by side in one file, so that the ensemble is a model like any other.

Where one network was trained on from the weights of another, the weights themselves can be averaged (model soups, arXiv
2203.05482). That is one network, as fast as each of them, which keeps what both do well.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper, numpy_helper

from mien.errors import TrainingError
from mien.model.bundle import Bundle, GoldenVectors, load_bundle, write_bundle
from mien.model.manifest import Answer, Calibration, Manifest, TrainingInfo
from mien.model.session import Session
from mien.output.files import check_bundle_path
from mien.progress import SILENT, Progress
from mien_train.bundles.answers import outputs_of
from mien_train.bundles.derived import finish
from mien_train.bundles.measured import AnswerQuality, quality, session_logits
from mien_train.bundles.to_onnx import created_now
from mien_train.data.packs import TrainingData, load_training_data

LEAST = 1e-12
"""A probability of 0 is taken for this much: its logarithm counts."""


@dataclass(frozen=True)
class MemberMeasurements:
    """One model on the validation pictures that do not stand in training, answer by answer, the default first."""

    name: str
    qualities: tuple[AnswerQuality, ...]
    megabytes: float


@dataclass(frozen=True)
class Ensemble:
    """A written bundle, and how its members do alone."""

    bundle: Bundle
    members: tuple[MemberMeasurements, ...]
    together: MemberMeasurements
    samples: int

    def lines(self) -> list[str]:
        """The table, for people."""
        rows = [["", *_titles(self.together.qualities), "size, MB"]]
        rows += [[m.name, *_cells(m.qualities), f"{m.megabytes:.2f}"] for m in (*self.members, self.together)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        return [
            *("  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows),
            f"on {self.samples} validation pictures that do not stand in training, with 95 % intervals",
        ]


def _titles(qualities: Sequence[AnswerQuality]) -> list[str]:
    # A calibration error is one against labels.
    return [t for q in qualities for t in [q.title] + ["calibration error"] * (q.measure == "accuracy")]


def _cells(qualities: Sequence[AnswerQuality]) -> list[str]:
    cells: list[str] = []
    for q in qualities:
        cells.append(f"{q.value.value:.2%} [{100 * q.value.low:.1f}, {100 * q.value.high:.1f}]")
        cells += [f"{q.calibration_error:.2%}"] * (q.measure == "accuracy")
    return cells


def ensemble(
    names: Sequence[str],
    data_root: Path,
    out: Path,
    *,
    average_weights: bool = False,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Ensemble:
    """Put several bundles into one, fit its temperature, measure it and its members, and write it to `out`.

    Its probabilities are softmax(mean(log p) / temperature) over the members' probabilities p; its crop is that of the
    first member.

    Args:
        names: at least two bundles of the same classes and input: paths, or names of bundled models.
        data_root: the labeled folder to fit the temperature and to measure on; its training split is read to know
            which pictures repeat there.
        out: the `.onnx` file.
        average_weights: average the members' weights instead, into one network.
        overwrite: replace `out`.
        progress: is told what is being done, and how much of it is.

    Raises:
        TrainingError: fewer than two bundles, or bundles or data that do not go together.
        OutputError: `out` exists.
    """
    check_bundle_path(out, overwrite=overwrite)
    members = [load_bundle(name) for name in names]
    graph = averaged(members) if average_weights else merge(members)
    first = members[0].manifest
    with tempfile.TemporaryDirectory() as folder:
        data = load_training_data(data_root, first.input, Path(folder), progress)
        classes = first.label_answer.classes
        if data.train.classes != classes:
            raise TrainingError(
                f"{data_root}: expected the bundles' classes ({', '.join(classes)}), found "
                f"{', '.join(data.train.classes)}"
            )
        command = f"mien ensemble {' '.join(names)} --data {data_root} --out {out}"
        command += " --average-weights" if average_weights else ""
        manifest = _manifest(members, out.stem, average_weights)
        return _finish(names, members, graph, manifest, data, command, out, progress)


def _finish(
    names: Sequence[str], members: Sequence[Bundle], graph: bytes, manifest: Manifest, data: TrainingData, command: str,
    out: Path, progress: Progress,
) -> Ensemble:  # fmt: skip
    """Measure the ensemble and its members, and write it."""
    progress.update("measuring", 0, len(members) + 1)
    tolerance = max(m.golden.tolerance if m.golden else GoldenVectors.tolerance for m in members)
    bundle, golden, together = finish(out, graph, manifest, data, command, tolerance)
    alone: list[MemberMeasurements] = []
    for name, member in zip(names, members, strict=True):
        progress.update("measuring", len(alone) + 1, len(members) + 1)
        session, found = Session(member, threads=1), list[AnswerQuality]()
        for answer in bundle.manifest.all_answers:
            one = session.giving(answer.name or None)
            found.append(quality(one.answer, session_logits(one, data.validation.images), data))
        alone.append(MemberMeasurements(name, tuple(found), len(member.model) / 1e6))
    written = write_bundle(out, bundle.model, bundle.manifest, golden)
    samples = len(data.clean_rows) or len(data.validation.labels)
    return Ensemble(written, tuple(alone), MemberMeasurements("together", together, len(written.model) / 1e6), samples)


def shared_answers(members: Sequence[Bundle]) -> tuple[Answer, ...]:
    """Answers that all members give, as the first one calls them.

    Raises:
        TrainingError: there is none.
    """
    shared = [a for a in members[0].manifest.all_answers if all(_has(m, a.name) for m in members)]
    if not shared:
        names = "; ".join(f"{m.path}: {', '.join(a.name or 'one' for a in m.manifest.all_answers)}" for m in members)
        raise TrainingError(f"expected bundles that share an answer; these give {names}. Export the older ones again")
    return tuple(
        answer.model_copy(update={"outputs": outputs_of(answer.name, turn == 0), "calibration": Calibration()})
        for turn, answer in enumerate(shared)
    )


def _has(member: Bundle, name: str) -> bool:
    return any(answer.name == name for answer in member.manifest.all_answers)


def merge(members: Sequence[Bundle]) -> bytes:
    """One graph, ONNX, of several: uint8 faces -> the mean of the members' log p, and its softmax, by answer.

    Raises:
        TrainingError: fewer than two, or ones that do not go together.
    """
    protos = [onnx.load_model_from_string(member.model) for member in members]
    _check(members, protos)
    first = members[0].manifest
    nodes: list[onnx.NodeProto] = []
    initializers: list[onnx.TensorProto] = []
    answers = shared_answers(members)
    terms: dict[str, list[str]] = {answer.name: [] for answer in answers}
    for turn, (member, proto) in enumerate(zip(members, protos, strict=True)):
        prefix = f"member{turn}."
        graph = compose.add_prefix(proto, prefix).graph
        nodes += [
            helper.make_node("Identity", [first.input.name], [graph.input[0].name], f"{prefix}input"),
            *graph.node,
        ]
        initializers += graph.initializer
        for answer in answers:
            own, mark = member.manifest.answer(answer.name or None), prefix + (answer.name and f"{answer.name}.")
            probabilities = f"{prefix}{own.outputs.probabilities}"
            if own.classes != answer.classes:
                columns = np.array([own.classes.index(c) for c in answer.classes], np.int64)
                initializers.append(numpy_helper.from_array(columns, f"{mark}columns"))
                nodes.append(helper.make_node("Gather", [probabilities, f"{mark}columns"], [f"{mark}ordered"], axis=1))
                probabilities = f"{mark}ordered"
            nodes += [
                helper.make_node("Clip", [probabilities, "least"], [f"{mark}clipped"]),
                helper.make_node("Log", [f"{mark}clipped"], [f"{mark}log"]),
            ]
            terms[answer.name].append(f"{mark}log")
    values: list[onnx.ValueInfoProto] = []
    for answer in answers:
        logits, probabilities = str(answer.outputs.logits), str(answer.outputs.probabilities)
        nodes += [
            helper.make_node("Mean", terms[answer.name], [logits]),
            helper.make_node("Softmax", [logits], [probabilities], axis=-1),
        ]
        shape = ["N", len(answer.classes)]
        values += [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in (probabilities, logits)]
    initializers.append(numpy_helper.from_array(np.array(LEAST, np.float32), "least"))
    graph = helper.make_graph(nodes, "ensemble", [protos[0].graph.input[0]], values, initializers)
    model = helper.make_model(
        graph, opset_imports=protos[0].opset_import, ir_version=max(proto.ir_version for proto in protos)
    )
    onnx.checker.check_model(model)
    return model.SerializeToString()


def averaged(members: Sequence[Bundle]) -> bytes:
    """The graph, ONNX, of the first member, its weights the mean of all members'.

    The mean of two networks is of use only where they do the same in the same places: where one began with the weights
    of the other. That cannot be seen from here, but it shows in the accuracy.

    Raises:
        TrainingError: fewer than two, ones that do not go together, are not the same network, or are not in floats.
    """
    protos = [onnx.load_model_from_string(member.model) for member in members]
    _check(members, protos)
    first = members[0]
    for member in members[1:]:
        if [a.name for a in member.manifest.answers] != [a.name for a in first.manifest.answers]:
            raise TrainingError(
                f"{member.path}: expected the answers of {first.path}, found others; export both with the same version"
            )
    weights = [_weights(proto) for proto in protos]
    steps = [[node.op_type for node in proto.graph.node] for proto in protos]  # a pooled stem has a full one's weights
    for member, found, done in zip(members, weights, steps, strict=True):
        if member.manifest.classes != first.manifest.classes:
            raise TrainingError(
                f"{member.path}: expected the classes in the order of {first.path} "
                f"({', '.join(first.manifest.classes)}), found {', '.join(member.manifest.classes)}"
            )
        kinds, expected = _kinds(found), _kinds(weights[0])
        if kinds != expected:
            name = min(name for name, _ in kinds.items() ^ expected.items())
            raise TrainingError(
                f"{member.path}: expected the network of {first.path} ({name}: {expected.get(name, 'none')}), found "
                f"{kinds.get(name, 'none')}; only the weights of one and the same network can be averaged"
            )
        if done != steps[0]:
            raise TrainingError(
                f"{member.path}: expected the network of {first.path}, found one with the same weights that computes "
                f"otherwise ({len(done)} steps, there {len(steps[0])})"
            )
    if not weights[0] or any(w.dtype != np.float32 for w in weights[0].values()):
        raise TrainingError(f"{first.path}: expected weights in floats, as `mien export` writes them")
    for tensor in protos[0].graph.initializer:
        if tensor.name in weights[0]:
            stack = np.stack([np.asarray(found[tensor.name], np.float64) for found in weights])
            tensor.CopyFrom(numpy_helper.from_array(stack.mean(axis=0).astype(np.float32), tensor.name))
    return protos[0].SerializeToString()


def _weights(proto: onnx.ModelProto) -> dict[str, NDArray[np.generic]]:
    """What was learned, under the names that `mien export` gives; not what the graph needs beside it."""
    return {i.name: numpy_helper.to_array(i) for i in proto.graph.initializer if i.name.startswith("network.")}


def _kinds(weights: dict[str, NDArray[np.generic]]) -> dict[str, str]:
    return {name: f"{tensor.dtype} {list(tensor.shape)}" for name, tensor in weights.items()}


def _check(members: Sequence[Bundle], protos: Sequence[onnx.ModelProto]) -> None:
    if len(members) < 2:
        raise TrainingError(f"expected at least two bundles, found {len(members)}")
    first = members[0]
    for member in members[1:]:
        if member.manifest.input != first.manifest.input:
            raise TrainingError(
                f"{member.path}: expected the input of {first.path} ({_input(first)}), found {_input(member)}"
            )
        if any(_unlike(member, first, answer.name) for answer in first.manifest.all_answers):
            raise TrainingError(
                f"{member.path}: expected the classes of {first.path} ({', '.join(first.manifest.classes)}), found "
                f"{', '.join(member.manifest.classes)}"
            )
    opsets = [{o.domain: o.version for o in proto.opset_import if o.domain == ""} for proto in protos]
    for member, opset in zip(members, opsets, strict=True):
        if not member.sealed or member.manifest.outputs.probabilities is None:
            raise TrainingError(f"{member.path}: expected a bundle that mien made, found a model without a seal")
        if opset != opsets[0]:
            raise TrainingError(
                f"{member.path}: expected the ONNX operator sets of {first.path} ({opsets[0]}), found {opset}; export "
                "both with the same version"
            )


def _unlike(one: Bundle, other: Bundle, answer: str) -> bool:
    """Whether both give this answer, over other classes."""
    if not (_has(one, answer) and _has(other, answer)):
        return False
    return sorted(one.manifest.answer(answer or None).classes) != sorted(other.manifest.answer(answer or None).classes)


def _input(bundle: Bundle) -> str:
    spec = bundle.manifest.input
    return f"{spec.height} x {spec.width} {spec.color} {spec.dtype} {spec.layout}"


def _manifest(members: Sequence[Bundle], name: str, average_weights: bool) -> Manifest:
    """The first one's, with where all come from; what is measured follows later.

    One network with averaged weights keeps the last one's recipe: `mien compress` and `--init` can go on from it.
    """
    first = members[0].manifest
    about = [
        {
            "name": member.manifest.name,
            "sha256": hashlib.sha256(member.model).hexdigest(),  # of the file: any tool can check it
            "recipe": member.manifest.training.recipe,
        }
        for member in members
    ]

    def joined(texts: list[str]) -> str:
        return "; ".join(dict.fromkeys(filter(None, texts)))

    recipe: dict[str, object] = {"ensemble": about}
    if average_weights:
        recipe = {**members[-1].manifest.training.recipe, "averaged": about}
    training = TrainingInfo(
        data=joined([m.manifest.training.data for m in members]),
        license=joined([m.manifest.training.license for m in members]),
        recipe=recipe,
    )
    manifest = Manifest(
        name=name, created=created_now(), classes=first.classes, input=first.input, crop=first.crop, training=training
    )
    return manifest.with_answers(first.all_answers if average_weights else shared_answers(members))
