"""Narrower networks out of wider ones."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from torch import nn

from mien.errors import TrainingError
from mien.model.bundle import write_bundle
from mien_train.bundles.to_onnx import DeployedNetwork, make_golden, to_onnx
from mien_train.data.tensors import input_spec
from mien_train.networks.initial import load_initial, network_of
from mien_train.networks.narrow import fits_into, narrowed
from mien_train.networks.resnet import ResNet, build_network
from mien_train.recipe import NetworkRecipe
from tests.models import tiny_manifest
from tests.training.test_train import CLASSES, RECIPE

WIDE = NetworkRecipe(widths=(16, 24), blocks=(2, 2), stem="full", attention="se", dropout=0.0)
IMAGES = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def network(**changes: object) -> ResNet:
    torch.manual_seed(3)
    made = build_network(WIDE.model_copy(update=changes), 1, 5, 16)
    assert isinstance(made, ResNet)
    return made.eval()


def silence(network: ResNet, channels: slice) -> None:
    """Switch these channels off, from the stem to the last block."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data[channels] = 0
            module.bias.data[channels] = 0


@pytest.mark.parametrize("attention", ["se", "none"])
def test_channels_that_do_nothing_are_the_ones_to_go(attention: str):
    whole = network(attention=attention)
    silence(whole, slice(0, None, 2))
    small = network(attention=attention, widths=(8, 12))
    state = narrowed(whole, small, IMAGES)
    small.load_state_dict(state)
    assert [len(b.conv2.weight) for b in small.stages] == [8, 8, 12, 12]
    if attention == "se":  # it has fewer units too, so that the answer is another one
        for index, block in enumerate(whole.stages):
            live = block.attention.excite.bias[1::2]
            assert torch.equal(state[f"stages.{index}.attention.excite.bias"], live)
    else:
        torch.testing.assert_close(small(IMAGES), whole(IMAGES), atol=1e-5, rtol=1e-5)


def test_attention_leaves_its_average_behind():
    whole, small = network(), network(attention="none")
    small.load_state_dict(narrowed(whole, small, IMAGES))
    torch.testing.assert_close(small(IMAGES), whole(IMAGES), atol=0.05, rtol=0.05)
    naive = network(attention="none")
    naive.load_state_dict({name: tensor for name, tensor in whole.state_dict().items() if "attention" not in name})
    wrong, off = ((n(IMAGES) - whole(IMAGES)).abs().mean() for n in (naive, small))
    assert off < wrong / 5


def test_the_first_blocks_of_a_stage_are_kept():
    whole, small = network(), network(blocks=(1, 2))
    state = narrowed(whole, small, IMAGES)
    assert torch.equal(state["stages.1.conv1.weight"], whole.get_parameter("stages.2.conv1.weight"))
    assert torch.equal(state["stages.2.conv1.weight"], whole.get_parameter("stages.3.conv1.weight"))


def test_what_fits_into_what():
    assert fits_into(WIDE, WIDE)
    assert fits_into(WIDE.model_copy(update={"widths": (8, 24), "attention": "none", "inner": 0.5}), WIDE)
    for changes in ({"widths": (8, 32)}, {"stem": "pool"}, {"blocks": (2, 2, 1), "widths": (8, 8, 8)}):
        assert not fits_into(WIDE.model_copy(update=changes), WIDE)
    assert not fits_into(WIDE, WIDE.model_copy(update={"attention": "none"}))


def test_training_starts_from_a_bundles_wider_network(tmp_path: Path):
    whole = network(attention="none")
    silence(whole, slice(0, None, 2))
    write(tmp_path / "wide.onnx", whole, {"network": whole.recipe.model_dump(mode="json")})
    small = network(attention="none", widths=(8, 12))
    load_initial(small, tmp_path / "wide.onnx", IMAGES)
    torch.testing.assert_close(small(IMAGES), whole(IMAGES), atol=1e-4, rtol=1e-4)
    with pytest.raises(TrainingError, match="not the weights of this recipe's network"):
        load_initial(network(attention="none", widths=(8, 32)), tmp_path / "wide.onnx", IMAGES)


def test_other_classes_start_afresh(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    whole = network(attention="none")
    write(tmp_path / "wide.onnx", whole, {"network": whole.recipe.model_dump(mode="json")})
    small = build_network(WIDE.model_copy(update={"attention": "none", "widths": (8, 12)}), 1, 9, 16)
    before = small.get_parameter("head.weight").clone()
    load_initial(small, tmp_path / "wide.onnx", IMAGES)
    assert torch.equal(small.get_parameter("head.weight"), before)
    assert "head of another shape than this network's; learned afresh" in caplog.text


def test_a_bundle_that_names_no_network_is_refused(tmp_path: Path):
    whole = network()
    bundle = write(tmp_path / "silent.onnx", whole, {})
    with pytest.raises(TrainingError, match="expected a network that `mien train` made"):
        network_of(bundle, IMAGES)
    with pytest.raises(TrainingError, match=r"has stages\.0\.attention\.excite\.bias too, which the network lacks"):
        load_initial(network(attention="none"), tmp_path / "silent.onnx", IMAGES)
    assert bundle.golden is not None
    lie = {"network": {**WIDE.model_dump(mode="json"), "widths": [8, 8]}}
    training = bundle.manifest.training.model_copy(update={"recipe": lie})
    manifest = bundle.manifest.model_copy(update={"training": training})
    bundle = write_bundle(tmp_path / "liar.onnx", bundle.model, manifest, bundle.golden)
    with pytest.raises(TrainingError, match="not the network that its manifest names"):
        network_of(bundle, IMAGES)


def write(path: Path, network: ResNet, recipe: dict[str, object]):
    deployed = DeployedNetwork(network, len(CLASSES), 1.0)
    spec = input_spec(RECIPE)
    manifest = tiny_manifest(classes=CLASSES, input=spec)
    manifest = manifest.model_copy(update={"training": manifest.training.model_copy(update={"recipe": recipe})})
    return write_bundle(path, to_onnx(deployed, spec), manifest, make_golden(deployed, spec))
