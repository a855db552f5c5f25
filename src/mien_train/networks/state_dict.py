"""A file of PyTorch weights -> layer names and tensors. Nothing in the file is ever run."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from mien.errors import TrainingError, reason

SAVE = "torch.save(model.state_dict(), 'face_expression.pth')"

WRAPPERS = ("module.", "_orig_mod.")
"""What `nn.DataParallel` and `torch.compile` put before every name."""

NESTED = ("state_dict", "model_state_dict", "model", "net", "network")
"""Keys under which a checkpoint keeps its state dict, beside the epoch and the optimizer."""


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read the weights in `path`.

    Wrappers' prefixes (`module.`) are dropped. Tensors come to the CPU, and half precision becomes float32.

    Args:
        path: a state dict, as `torch.save(model.state_dict(), path)` writes it, or a checkpoint that holds one.

    Returns:
        layer name -> tensor, in the order of the file.

    Raises:
        TrainingError: no such file, a damaged one, a whole pickled model, or no state dict in it.
    """
    state = _tensors(path, _loaded(path))
    for prefix in WRAPPERS * 2:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}


def load_checked(network: nn.Module, state: Mapping[str, Tensor], path: Path, what: str, remedy: str = "") -> None:
    """Give `network` the weights of `state`, or name the first layer that does not fit.

    Args:
        network: it is changed in place.
        state: layer name -> tensor.
        path: of the weights, for errors.
        what: the network's name in errors.
        remedy: what to do about weights of another network.

    Raises:
        TrainingError: a layer is missing, has another shape, is too many, or holds values that are not finite.
    """
    expected = network.state_dict()
    start = f"{path}: these are not weights of {what}: "
    end = f"; {remedy}" if remedy else ""
    for layer, tensor in expected.items():
        shape = tuple(tensor.shape)
        if layer not in state:
            raise TrainingError(
                f"{start}expected layer {layer!r} of shape {shape}, found no such layer among {_some(list(state))}{end}"
            )
        if (found := tuple(state[layer].shape)) != shape:
            raise TrainingError(f"{start}layer {layer!r}: expected shape {shape}, found {found}{end}")
    if extra := [layer for layer in state if layer not in expected]:
        raise TrainingError(
            f"{start}expected {len(expected)} tensors, found also {_some(extra)} of shape "
            f"{tuple(state[extra[0]].shape)}{end}"
        )
    check_finite(state, path)
    network.load_state_dict(dict(state))


def check_finite(state: Mapping[str, Tensor], path: Path) -> None:
    """Refuse weights with a value that is not a number.

    Raises:
        TrainingError: the first such layer is named.
    """
    for layer, tensor in state.items():
        if not torch.isfinite(tensor).all():
            raise TrainingError(f"{path}: layer {layer!r} holds values that are not finite; train again")


def _loaded(path: Path) -> object:
    try:
        # weights_only: a pickle may run any code when it is opened, and weights come from other people.
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise TrainingError(
            f"{path}: no such file; expected weights saved with torch.save(model.state_dict(), {path.name!r})"
        ) from None
    except OSError as error:
        raise TrainingError(f"{path}: cannot be read ({reason(error)})") from error
    except pickle.UnpicklingError as error:
        if not _begins_as_pickle(path):
            raise TrainingError(f"{path}: not a file of PyTorch weights; save {SAVE}") from error
        raise TrainingError(
            f"{path}: expected a state dict, found something that only running its code could open, which mien never "
            f"does (a whole model saved with torch.save(model, ...), for instance); save {SAVE} instead"
        ) from error
    except Exception as error:  # torch.load raises what the bytes drive it into
        raise TrainingError(f"{path}: not a file of PyTorch weights, or a damaged one; save {SAVE} again") from error


def _begins_as_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2)[:1] in (b"P", b"\x80")


def _tensors(path: Path, found: object) -> dict[str, Tensor]:
    if not isinstance(found, Mapping) or not found:
        raise TrainingError(f"{path}: expected a state dict, found {_kind(found)}; save {SAVE}")
    inner = [key for key in NESTED if isinstance(found.get(key), Mapping) and found[key]]
    if inner:
        return _tensors(path, found[inner[0]])
    state: dict[str, Tensor] = {}
    for name, value in found.items():
        if not isinstance(value, Tensor):
            raise TrainingError(
                f"{path}: expected a state dict (layer name -> tensor), found {_kind(value)} under {name!r}; save "
                f"{SAVE}"
            )
        state[str(name)] = value
    return state


def _kind(value: object) -> str:
    return "an empty dictionary" if value == {} else f"an object of type {type(value).__name__}"


def _some(names: list[str]) -> str:
    return ", ".join(repr(n) for n in names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
