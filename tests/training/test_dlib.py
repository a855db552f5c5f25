"""Starting from dlib's face recognition network, of which a small one is drawn at random here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor
from torch.nn import functional as F

from mien.errors import TrainingError
from mien_train.networks.dlib import BLOCKS, WIDTHS
from mien_train.networks.initial import initial_digest, load_initial
from mien_train.networks.resnet import build_network
from mien_train.recipe import NetworkRecipe

STAGES = 2
RECIPE = NetworkRecipe.model_validate({"widths": WIDTHS[:STAGES], "blocks": BLOCKS[:STAGES], "stem": "wide"})
IMAGES = torch.rand(2, 1, 128, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1

Layers = list[tuple[np.ndarray, np.ndarray, np.ndarray]]
"""Of each convolution its weights, its offsets, and the scales and offsets that follow."""


def drawn() -> Layers:
    rng = np.random.default_rng(0)
    shapes = [(32, 3, 7, 7)]
    for stage in range(STAGES):
        into = WIDTHS[max(stage - 1, 0)]
        for number in range(BLOCKS[stage]):
            shapes += [(WIDTHS[stage], WIDTHS[stage] if number else into, 3, 3), (WIDTHS[stage],) * 2 + (3, 3)]
    return [
        (
            rng.normal(0, (2 / np.prod(s[1:])) ** 0.5, s).astype("<f4"),
            rng.normal(0, 0.1, s[0]).astype("<f4"),
            np.concatenate([rng.uniform(0.5, 1, s[0]), rng.normal(0, 0.1, s[0])]).astype("<f4"),
        )
        for s in shapes
    ]


def packed(number: int) -> bytes:
    digits = number.to_bytes(4, "little").rstrip(b"\0")
    return bytes([len(digits)]) + digits


def stored(values: np.ndarray) -> bytes:
    return b"".join(map(packed, (2, values.size, 1, 1, 1))) + values.tobytes()


def dat(layers: Layers) -> bytes:
    between = b"\x01\x05con_4\x01\x00"
    return b"".join(
        between + stored(np.concatenate([w.ravel(), b])) + between + stored(affine) for w, b, affine in layers
    )


def computed(layers: Layers, images: Tensor) -> Tensor:
    """What dlib computes of the pictures doubled in size, before the mean over places."""
    todo = iter(layers)

    def convolution(x: Tensor, stride: int) -> Tensor:
        weight, bias, affine = (torch.from_numpy(t.astype(np.float32)) for t in next(todo))
        y = F.conv2d(x, weight, bias, stride, weight.shape[-1] // 2)
        scale, offset = affine.view(2, -1, 1, 1)
        return y * scale + offset

    gray = (127.5 * images / 256).expand(-1, 3, -1, -1)
    x = F.interpolate(gray, scale_factor=2, mode="bilinear", align_corners=False)
    x = F.max_pool2d(convolution(x, 2).relu(), 3, 2, 1)
    for stage in range(STAGES):
        for number in range(BLOCKS[stage]):
            stride = 2 if stage and not number else 1
            y = convolution(convolution(x, stride).relu(), 1)
            shortcut = F.avg_pool2d(x, stride)
            x = (y + F.pad(shortcut, (0, 0, 0, 0, 0, y.shape[1] - x.shape[1]))).relu()
    return x


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "faces.dat"
    path.write_bytes(dat(drawn()))
    return path


def test_a_network_computes_what_dlibs_does(source: Path, caplog: pytest.LogCaptureFixture):
    network = build_network(RECIPE, 1, 5, 128)
    head = network.get_parameter("head.weight").clone()
    load_initial(network, source, IMAGES)
    got = network.eval().get_submodule("stages")(network.get_submodule("stem")(IMAGES))
    expected = computed(drawn(), IMAGES)
    # Only in the middle, which the border (repeated there, empty here) does not reach.
    assert got.shape == expected.shape
    torch.testing.assert_close(got[:, :, 15:17, 15:17], expected[:, :, 15:17, 15:17], atol=2e-3, rtol=2e-3)
    assert torch.equal(network.get_parameter("head.weight"), head)
    assert "head" in caplog.text
    assert len(initial_digest(source)) == 64


def test_colors_are_summed_for_gray_pictures(source: Path):
    gray, color = build_network(RECIPE, 1, 5, 128).eval(), build_network(RECIPE, 3, 5, 128).eval()
    three = IMAGES.expand(-1, 3, -1, -1)
    load_initial(gray, source, IMAGES)
    load_initial(color, source, three)
    first, second = (n.get_submodule("stem")(x) for n, x in ((gray, IMAGES), (color, three)))
    torch.testing.assert_close(first, second, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "changes",
    [{"stem": "pool"}, {"widths": (32, 48)}, {"blocks": (3, 5)}, {"attention": "se"}, {"inner": 0.5}],
)
def test_another_network_is_refused(source: Path, changes: dict[str, object]):
    network = build_network(RECIPE.model_copy(update=changes), 1, 5, 128)
    with pytest.raises(TrainingError, match=r"expected network\.stem = 'wide'"):
        load_initial(network, source, IMAGES)


def test_the_courses_network_is_refused(source: Path):
    network = build_network(NetworkRecipe.model_validate({"name": "si100b"}), 3, 5, 48)
    with pytest.raises(TrainingError, match=r"network\.name = 'resnet'"):
        load_initial(network, source, torch.zeros(2, 3, 48, 48))


@pytest.mark.parametrize("keep", [0, 100, 4000, -5])
def test_a_damaged_file_is_refused(source: Path, keep: int):
    source.write_bytes(source.read_bytes()[:keep])
    with pytest.raises(TrainingError, match=r"a layer of .* values is missing"):
        load_initial(build_network(RECIPE, 1, 5, 128), source, IMAGES)


def test_values_that_are_not_finite_are_refused(source: Path):
    layers = drawn()
    layers[3][0][0] = np.nan
    source.write_bytes(dat(layers))
    with pytest.raises(TrainingError, match="not finite"):
        load_initial(build_network(RECIPE, 1, 5, 128), source, IMAGES)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(TrainingError, match="no such file"):
        load_initial(build_network(RECIPE, 1, 5, 128), tmp_path / "none.dat", IMAGES)
