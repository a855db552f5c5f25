"""A trained network from its weights."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from mien.errors import TrainingError
from mien_train.networks.emotion_net import MODULE_HINT, is_emotion_net, load_emotion_net
from mien_train.networks.state_dict import load_checked, read_state_dict

from . import classify


def loadTrained(path: str | Path, classes: int = 3) -> nn.Module:
    """The network with the weights in `path`, ready for inference.

    The lecture's `model.load_state_dict(torch.load(path, weights_only=True)); model.eval()`, except that a file that
    does not fit is refused with the first layer that differs. The network is that of `my_net/classify.py`; weights of
    the course's network in other sizes get a network of those sizes.

    Raises:
        TrainingError: no such file, other weights, or another number of classes.
    """
    path = Path(path)
    state = read_state_dict(path)
    model = _own_network()
    shapes = {name: tensor.shape for name, tensor in state.items()}
    if model is not None and {name: tensor.shape for name, tensor in model.state_dict().items()} == shapes:
        load_checked(model, state, path, "my_net/classify.py")
    elif is_emotion_net(list(state)):
        model = load_emotion_net(path, state)
    elif model is not None:
        load_checked(model, state, path, "my_net/classify.py", MODULE_HINT)  # names the layer that differs
    else:
        raise TrainingError(f"{path}: my_net/classify.py has no makeEmotionNet that gives a network")
    outputs = [tensor for name, tensor in state.items() if name.endswith("weight")][-1].shape[0]
    if outputs != classes:
        raise TrainingError(f"{path}: the network was trained for {outputs} classes, but there are {classes}")
    return model.cpu().eval()


def _own_network() -> nn.Module | None:
    """What `makeEmotionNet` gives; None where that is still a blank to fill in."""
    try:
        made = classify.makeEmotionNet(False)
    except Exception:  # the student's own code, perhaps half written
        return None
    model = made[0] if isinstance(made, (tuple, list)) else made
    return model if isinstance(model, nn.Module) else None
