"""Weights to start from: a run's `weights.pt`, a bundle that mien exported, or dlib's face recognition network.

A bundle's graph has its batch normalizations folded into the convolutions. `load_initial` takes them apart again, so
that the network computes what the bundle computes and can be trained on.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from mien.errors import MienError, TrainingError
from mien.model.bundle import Bundle, load_bundle
from mien_train.networks.dlib import dlib_tensors
from mien_train.networks.emotion_net import EmotionNet, with_our_names
from mien_train.networks.modules import Rescaled
from mien_train.networks.narrow import fits_into, narrowed
from mien_train.networks.resnet import ResNet, build_network
from mien_train.networks.state_dict import load_checked, read_state_dict
from mien_train.networks.tensor_file import read_tensors
from mien_train.recipe import NetworkRecipe, parse_recipe

_log = logging.getLogger("mien")

FILES = (".pt", ".pth", ".dat", ".npz")
"""How the names of files end that are not bundles: a run's weights, a user's, dlib's, stored soft targets."""

ENDS = ("stem", "head")
"""Parts that may differ from those of the weights (another resolution, other classes); they keep fresh weights then."""

FILTER_NORM = 3**-0.5
"""Norm of a filter in PyTorch's default initialization; a filter before a normalization may have any."""


def initial_digest(source: Path | None) -> str:
    """sha256 of the weights in a file, a bundle or a finished run's folder; empty without any, or if there are none."""
    if source is None:
        return ""
    if source.is_dir():
        source = source / "weights.pt"
    if source.suffix in FILES and source.is_file():
        return hashlib.sha256(source.read_bytes()).hexdigest()
    try:
        return hashlib.sha256(load_bundle(str(source)).model).hexdigest()
    except MienError:
        return ""


def load_initial(network: nn.Module, source: Path, images: Tensor) -> None:
    """Give `network` the weights of `source`.

    Stem and head may be of another shape than there (another resolution, other classes): those stay as they are. Of a
    bundle's wider network, the channels that count most are taken: see `mien_train.networks.narrow`.

    Args:
        network: of the same shape as the one the weights come from, but for its `ENDS`; or a bundle's, but narrower.
        source: a run's `weights.pt` or `checkpoint.pt`, a user's `.pth`, a bundle (`.onnx`, or the name of a bundled
            model), or dlib's `.dat`.
        images: float `[N, C, H, W]`, normalized: pictures to take the normalizations' statistics from.

    Raises:
        TrainingError: no such file, or not the weights of this network.
    """
    if source.suffix in FILES and not source.is_file():
        raise TrainingError(f"{source}: no such file; expected weights.pt of a finished run, a bundle, or dlib's .dat")
    try:
        if source.suffix == ".pt":
            read = read_tensors(source, "take a copy, or another file of weights")
            state: dict[str, Tensor] = read.get("average", read)  # of a checkpoint, what the run would have given
            fresh = _fresh_ends(network, state)
            network.load_state_dict(state | fresh)
        elif source.suffix == ".pth":
            fresh = _load_custom(network, source)
        elif source.suffix == ".dat":
            if not isinstance(network, ResNet):
                raise TrainingError(f"{source}: dlib's network; expected a recipe with network.name = 'resnet'")
            fresh = {name: tensor for name, tensor in network.state_dict().items() if name.startswith("head.")}
            _unfold(network, dlib_tensors(source, network), fresh, images)
        else:
            bundle = load_bundle(str(source))
            state = _tensors(bundle.model)
            if _narrower(network, bundle):
                fresh = {name: t for name, t in network.state_dict().items() if _other_head(name, t, state)}
                network.load_state_dict(narrowed(network_of(bundle, images), network, images))
            else:
                fresh = _fresh_ends(network, state)
                _unfold(network, state, fresh, images)
    except MienError:
        raise
    except Exception as error:  # torch.load and load_state_dict raise what the file drives them into
        raise TrainingError(f"{source}: not the weights of this recipe's network ({error})") from error
    if fresh:
        _log.warning("%s: %s of another shape than this network's; learned afresh", source, " and ".join(_parts(fresh)))


def _load_custom(network: nn.Module, source: Path) -> dict[str, Tensor]:
    """Load a user's weights; the tensors of the last layer that keep fresh ones, for other classes."""
    state = read_state_dict(source)
    target = network.network if isinstance(network, Rescaled) else network
    if isinstance(target, EmotionNet):
        state = with_our_names(source, state)
    own = target.state_dict()
    last = [name for name in own if name.endswith(".weight")][-1].rpartition(".")[0]
    fresh = {
        name: tensor
        for name, tensor in own.items()
        if name.startswith(f"{last}.") and name in state and state[name].shape != tensor.shape
    }
    load_checked(target, state | fresh, source, "this recipe's network")
    return fresh


def network_of(bundle: Bundle, images: Tensor) -> nn.Module:
    """The network in a bundle that mien trained, with all its outputs: the classes', and those that learned the votes.

    Args:
        bundle: its manifest says which network it is.
        images: as for `load_initial`.

    Raises:
        TrainingError: the manifest names no network, or the file holds another one.
    """
    seen, state, recipe = bundle.manifest.input, _tensors(bundle.model), _network_recipe(bundle)
    if recipe is None or "head.bias" not in state:
        raise TrainingError(f"{bundle.path}: expected a network that `mien train` made")
    network = build_network(recipe, seen.channels, len(state["head.bias"]), seen.height)
    try:
        _unfold(network, state, {}, images)
    except ValueError as error:
        raise TrainingError(f"{bundle.path}: not the network that its manifest names ({error})") from error
    return network.eval()


def _narrower(network: nn.Module, bundle: Bundle) -> bool:
    """Whether `network` is like the bundle's, with fewer channels or blocks."""
    about = _network_recipe(bundle)
    if about is None or not isinstance(network, ResNet):
        return False
    own = network.recipe
    return own.model_copy(update={"levels": about.levels, "dropout": about.dropout}) != about and fits_into(own, about)


def _network_recipe(bundle: Bundle) -> NetworkRecipe | None:
    noted = bundle.manifest.training.recipe.get("network")
    return parse_recipe({"network": noted}, str(bundle.path)).network if noted is not None else None


def _other_head(name: str, tensor: Tensor, tensors: dict[str, Tensor]) -> bool:
    """Whether this is the head, and the file's has another number of outputs."""
    return name.startswith("head.") and name in tensors and len(tensor) != len(tensors[name])


def _tensors(model: bytes) -> dict[str, Tensor]:
    """The graph's tensors under the network's own names; of an int8 graph, what its integers stand for."""
    graph = onnx.load_model_from_string(model).graph
    stored = {i.name: np.array(numpy_helper.to_array(i)) for i in graph.initializer if i.name.startswith("network.")}
    tensors: dict[str, Tensor] = {}
    for name, values in stored.items():
        if name.endswith("_quantized"):
            own = name.removesuffix("_quantized")
            # One scale a channel; a bias names its own "..._quantized_scale". The zero points are 0.
            scale = stored.get(f"{name}_scale", stored.get(f"{own}_scale"))
            assert scale is not None
            tensors[own] = torch.from_numpy(values * scale.reshape(-1, *[1] * (values.ndim - 1))).float()
        elif not name.endswith(("_scale", "_zero_point")):
            tensors[name] = torch.from_numpy(values)
    return {name.removeprefix("network."): tensor for name, tensor in tensors.items()}


def _fresh_ends(network: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of the network's `ENDS` that cannot be those of `tensors`."""
    own = network.state_dict()
    differ = _parts(name for name, tensor in own.items() if name in tensors and tensors[name].shape != tensor.shape)
    return {name: tensor for name, tensor in own.items() if name.split(".")[0] in set(ENDS).intersection(differ)}


def _parts(names: Iterable[str]) -> list[str]:
    """The network's parts that these tensors belong to."""
    return sorted({name.split(".")[0] for name in names})


@torch.no_grad()
def _unfold(network: nn.Module, tensors: dict[str, Tensor], fresh: dict[str, Tensor], images: Tensor) -> None:
    left = {name for name in tensors if name.split(".")[0] not in _parts(fresh)}
    for name, convolution, norm in _normalized(network):
        if f"{name}.weight" in fresh:
            continue
        _fill(convolution.weight, f"{name}.weight", tensors)
        if f"{name}.weight_bias" in tensors:  # left out of the file where it is 0
            _fill(norm.bias, f"{name}.weight_bias", tensors)
        norm.weight.fill_((1 + norm.eps) ** 0.5)  # with mean 0 and variance 1: nothing but the bias
        norm.reset_running_stats()
        left -= {f"{name}.weight", f"{name}.weight_bias"}
    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    for name in (f"{layer}.{part}" for layer in linear for part in ("weight", "bias")):
        if name in fresh:
            continue
        _fill(network.get_parameter(name), name, tensors)
        left.discard(name)
    if left:
        raise ValueError(f"the file has {min(left)} too, which the network lacks")
    _settle(network, images, fresh)


def _fill(parameter: Tensor, name: str, tensors: dict[str, Tensor]) -> None:
    if name not in tensors:
        raise ValueError(f"{name} is missing")
    if tensors[name].shape != parameter.shape:
        raise ValueError(f"{name} is {tuple(tensors[name].shape)}, expected {tuple(parameter.shape)}")
    parameter.copy_(tensors[name])


def _normalized(network: nn.Module) -> list[tuple[str, nn.Conv2d, nn.BatchNorm2d]]:
    """Each convolution with the normalization that follows it: in order of definition, everywhere in our networks."""
    found: list[tuple[str, nn.Conv2d, nn.BatchNorm2d]] = []
    last: tuple[str, nn.Conv2d] | None = None
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            last = name, module
        elif isinstance(module, nn.BatchNorm2d) and last is not None:
            found.append((*last, module))
    return found


def _settle(network: nn.Module, images: Tensor, fresh: Collection[str]) -> None:
    """Move scale and offset of every convolution into its normalization, whose statistics are those of `images`.

    Normalizations of `fresh` convolutions do what they are there for.
    """
    statistics: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def note(module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        statistics[module] = output.mean((0, 2, 3)), output.var((0, 2, 3), unbiased=False)

    layers = _normalized(network)
    hooks = [convolution.register_forward_hook(note) for _, convolution, _ in layers]
    network.eval()
    for name, _, norm in layers:
        norm.train(f"{name}.weight" in fresh)
    network(images)
    for hook in hooks:
        hook.remove()
    for _, convolution, norm in layers:
        mean, variance = statistics[convolution]
        assert norm.running_mean is not None
        assert norm.running_var is not None
        if norm.training:
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance)
            continue
        size = FILTER_NORM / convolution.weight.flatten(1).norm(dim=1).clamp_min(1e-12)
        convolution.weight.mul_(size.view(-1, 1, 1, 1))
        norm.running_mean.copy_(mean * size)
        norm.running_var.copy_(variance * size**2)
        norm.weight.copy_((norm.running_var + norm.eps).sqrt() / size)
        norm.bias.add_(mean)
