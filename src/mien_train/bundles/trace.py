"""A bundle and what it was made of, stage by stage: where do the two part?

Every stage gets the trainer's own input, so that a difference belongs to the stage that shows it:

    classes   names and order
    pixels    a picture's file -> decoded pixels
    crop      decoded pixels -> the model's view of the face
    tensor    crop -> what the first layer sees (the normalization stands inside the graph)
    logits    crop -> logits
    label     the class that is named, from the file on
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import helper
from PIL import Image as PillowImage
from torch import Tensor, nn

from mien.dataset import Sample, Split
from mien.dataset.fingerprint import pixel_key
from mien.errors import DatasetError, MediaError
from mien.media.image import read_image
from mien.model.bundle import Bundle
from mien.model.crop import Crops, cut, whole_face
from mien.model.manifest import PEOPLE, CropSpec, InputSpec
from mien.model.session import Session
from mien.model.verify import Check
from mien.records import Image
from mien_train.data.packs import pack
from mien_train.data.tensors import normalize, predict_logits
from mien_train.networks.custom_network import CustomOptions, open_custom_network
from mien_train.run.finished_run import open_run

SAMPLES = 200
TENSOR_TOLERANCE = 1e-5
LOGIT_TOLERANCE = 1e-4
"""Largest difference, as a share of the largest logit or of 1, whichever is larger."""


@dataclass(frozen=True)
class _Source:
    """The trainer's side.

    `crops` is uint8 `[N, H, W, C]`, what the network was shown of the N samples. `saw` tells whether pixels decoded now
    (uint8 `[H, W, 3]` BGR) are those of sample i that training saw. The first K outputs of `network` are the logits.
    `scaled` gives what the first layer sees of pixels in 0..1; with `own_code`, the network is a user's and may do
    more before that.
    """

    classes: tuple[str, ...]
    network: nn.Module
    spec: InputSpec
    samples: tuple[Sample, ...]
    crops: Crops
    saw: Callable[[int, Image], bool]
    scaled: Callable[[Tensor], Tensor] = normalize
    own_code: bool = False


def trace(
    bundle: Bundle, against: Path, split: Split, samples: int = SAMPLES, told: CustomOptions | None = None
) -> tuple[Check, ...]:
    """Compare a bundle with the run folder, or the user's weights, that it was made of.

    Args:
        bundle: the model.
        against: a run folder of `mien train`, or the SI100B course's `face_expression.pth`.
        split: labeled pictures, each one a face; `samples` of them, spread evenly, are traced.
        samples: how many.
        told: what is known of a user's weights; the classes are the bundle's.

    Returns:
        one check a stage; `passed` is None where an earlier difference makes it senseless.

    Raises:
        TrainingError: `against` is neither, or the run is not finished.
        DatasetError: none of the pictures can be read.
    """
    if against.is_dir():
        source = _of_run(against, split, samples)
    else:
        source = _of_weights(against, bundle, split, samples, told or CustomOptions())
    images = [next(read_image(sample.path)).pixels for sample in source.samples]
    checks = [_classes(bundle, source), _pixels(source, images), _crop(bundle, source, images)]
    if _shape(bundle.manifest.input) != _shape(source.spec) or len(_label_classes(bundle)) != len(source.classes):
        return (*checks, *(Check(name, None, "shapes differ already") for name in ("tensor", "logits", "label")))
    return (*checks, _tensor(bundle, source), *_answers(bundle, source, images))


def _of_run(folder: Path, split: Split, samples: int) -> _Source:
    run = open_run(folder)
    packed = pack(split, run.spec, folder / "cache")
    rows = _spread(len(packed.samples), samples)
    keys = [packed.keys[i] for i in rows]
    return _Source(
        run.classes,
        run.network,
        run.spec,
        tuple(packed.samples[i] for i in rows),
        np.array(packed.images[rows]),
        lambda i, image: pixel_key(image) == keys[i],
    )


def _of_weights(path: Path, bundle: Bundle, split: Split, samples: int, told: CustomOptions) -> _Source:
    """A user's weights bring no record of what they saw: Pillow's own reading of the file stands for it."""
    custom = open_custom_network(path, replace(told, classes=told.classes or _label_classes(bundle)))
    kept: list[Sample] = []
    crops: list[Crops] = []
    failed = ""
    for row in _spread(len(split), samples):
        try:
            image = next(read_image(split.samples[row].path)).pixels
        except MediaError as error:
            failed = failed or str(error)
            continue
        kept.append(split.samples[row])
        crops.append(cut(image, [whole_face(image)], CropSpec(), custom.input))
    if not kept:
        raise DatasetError(f"{split.root}: none of the pictures can be read; the first: {failed}")

    def saw(i: int, image: Image) -> bool:
        with PillowImage.open(kept[i].path) as picture:
            return np.array_equal(np.asarray(picture.convert("RGB"))[..., ::-1], image)

    mean, std = (torch.tensor(custom.recipe[k]).view(-1, 1, 1) for k in ("mean", "std"))

    def scaled(pixels: Tensor) -> Tensor:
        return (pixels - mean) / std

    return _Source(
        custom.classes, custom.network, custom.input, tuple(kept), np.concatenate(crops), saw, scaled,
        own_code=bool(told.module),
    )  # fmt: skip


def _spread(count: int, wanted: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).round().astype(np.int64))


def _label_classes(bundle: Bundle) -> tuple[str, ...]:
    return bundle.manifest.label_answer.classes


def _shape(spec: InputSpec) -> tuple[int, int, int]:
    return spec.height, spec.width, spec.channels


def _classes(bundle: Bundle, source: _Source) -> Check:
    if _label_classes(bundle) == source.classes:
        return Check("classes", True, ", ".join(source.classes))
    return Check(
        "classes",
        False,
        f"the bundle has {', '.join(_label_classes(bundle))}; training {', '.join(source.classes)}",
    )


def _pixels(source: _Source, images: list[Image]) -> Check:
    changed = [i for i, image in enumerate(images) if not source.saw(i, image)]
    if not changed:
        return Check("pixels", True, f"{len(images)} pictures decode to the pixels that training saw")
    return Check("pixels", False, f"{len(changed)} of {len(images)} differ, {source.samples[changed[0]].path} first")


def _crop(bundle: Bundle, source: _Source, images: list[Image]) -> Check:
    spec = bundle.manifest.input
    if _shape(spec) != _shape(source.spec):
        return Check("crop", False, f"the bundle takes {_shape(spec)} (h, w, c); training {_shape(source.spec)}")
    found = _bundle_crops(bundle, images)
    gaps = np.abs(found.astype(np.int64) - source.crops).max(axis=(1, 2, 3))
    if not gaps.any():
        return Check("crop", True, f"{len(found)} crops of {_shape(spec)} are equal, {spec.color}")
    other = (
        f" (color: the bundle {spec.color}, training {source.spec.color})" if spec.color != source.spec.color else ""
    )
    return Check("crop", False, f"{(gaps > 0).sum()} of {len(gaps)} differ, by up to {gaps.max()} of 255{other}")


def _bundle_crops(bundle: Bundle, images: list[Image]) -> Crops:
    manifest = bundle.manifest
    return np.concatenate([cut(image, [whole_face(image)], manifest.crop, manifest.input) for image in images])


def _tensor(bundle: Bundle, source: _Source) -> Check:
    model = onnx.load_model_from_string(bundle.model)
    weights = {i.name for i in model.graph.initializer}
    layers = [n for n in model.graph.node if n.op_type in ("Conv", "Gemm", "MatMul") and weights & set(n.input)]
    if not layers or bundle.manifest.input.dtype != "uint8":
        return Check("tensor", None, "this graph does not normalize its input itself")
    name = layers[0].input[0]
    model.graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = np.asarray(session.run([name], {bundle.manifest.input.name: source.crops})[0])
    expected = source.scaled(torch.from_numpy(source.crops).permute(0, 3, 1, 2).float() / 255).numpy()
    same = found.shape == expected.shape and float(np.abs(found - expected).max()) <= TENSOR_TOLERANCE
    if source.own_code and not same:
        return Check("tensor", None, "the user's own code works on the pictures before its first layer")
    if found.shape != expected.shape:
        return Check("tensor", False, f"the first layer sees {list(found.shape)}; in training {list(expected.shape)}")
    worst = float(np.abs(found - expected).max())
    detail = f"largest difference {worst:.1e} (tolerance {TENSOR_TOLERANCE:.0e})"
    return Check("tensor", worst <= TENSOR_TOLERANCE, detail)


def _answers(bundle: Bundle, source: _Source, images: list[Image]) -> tuple[Check, Check]:
    session = Session(bundle, answer=bundle.manifest.label_answer.name or None)
    count = len(source.classes)
    columns = predict_logits(source.network, source.crops, "fp32").numpy()
    expected = columns[:, :count]
    worst = float(np.abs(session.run(source.crops)[1] - expected).max())
    if bundle.manifest.answer().name == PEOPLE:  # the columns that learned the votes follow those of the labels
        worst = max(worst, float(np.abs(session.giving(PEOPLE).run(source.crops)[1] - columns[:, count:]).max()))
    limit = LOGIT_TOLERANCE * max(1.0, float(np.abs(columns).max()))
    logits = Check("logits", worst <= limit, f"largest difference {worst:.1e} (tolerance {limit:.0e})")
    named = [_label_classes(bundle)[k] for k in session.run(_bundle_crops(bundle, images))[0].argmax(axis=1)]
    wanted = [source.classes[k] for k in expected.argmax(axis=1)]
    differ = [i for i, pair in enumerate(zip(named, wanted, strict=True)) if pair[0] != pair[1]]
    if not differ:
        return logits, Check("label", True, f"{len(named)} pictures get the same label")
    i = differ[0]
    example = f"{source.samples[i].path}: the bundle says {named[i]}, the network {wanted[i]}"
    return logits, Check("label", False, f"{len(differ)} of {len(named)} differ; {example}")
