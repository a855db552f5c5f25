"""The course's network, its loss and its optimizer."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from mien_train.networks.emotion_net import load_emotion_net
from mien_train.networks.networks import EmotionNet as emotionNet
from mien_train.networks.state_dict import read_state_dict
from my_net.training import function2trainModel

__all__ = ["emotionNet", "function2trainModel", "loadTrained", "makeEmotionNet"]


def makeEmotionNet(
    printtoggle: bool, classes: int = 3
) -> tuple[emotionNet, nn.CrossEntropyLoss, torch.optim.Optimizer]:
    """`(model, lossfun, optimizer)`: an untrained network, cross-entropy, Adam (lr 1e-3, weight decay 1e-5).

    Args:
        printtoggle: print the shape of what every layer takes, on each forward pass.
        classes: outputs of the network.
    """
    model = emotionNet(classes)
    if printtoggle:
        _print_shapes(model)
    return model, nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-5)


def loadTrained(path: str | Path, classes: int = 3) -> emotionNet:
    """The network with the weights in `path`, ready for inference.

    The lecture's `model.load_state_dict(torch.load(path, weights_only=True)); model.eval()`, except that a file that
    does not fit is refused with the first layer that differs.
    """
    return load_emotion_net(Path(path), read_state_dict(Path(path)))


def _print_shapes(model: emotionNet) -> None:
    # Hooks are no part of the state dict: the weights load and save as those of a silent network.
    for name, layer in model.named_children():

        def before(_layer: nn.Module, inputs: tuple[Tensor, ...], name: str = name) -> None:
            print(f"{name:6} takes  {list(inputs[0].shape)}")

        layer.register_forward_pre_hook(before)
    model.register_forward_hook(lambda _model, _inputs, output: print(f"output        {list(output.shape)}"))
