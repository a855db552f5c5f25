"""The course's network, its loss and its optimizer. Your own file of this name may stand here instead."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mien_train.networks.emotion_net import EmotionNet, EmotionNetShape

from .training import function2trainModel

__all__ = ["emotionNet", "function2trainModel", "makeEmotionNet"]


class emotionNet(EmotionNet):
    """Three convolutions with max-pooling and LeakyReLU, three linear layers: 3 x 48 x 48 -> logits of the classes.

    Args:
        printtoggle: print the shape of what every layer takes, on each forward pass.
        classes: outputs of the network.
        shape: other sizes than the course's; its number of classes counts then.
    """

    def __init__(self, printtoggle: bool = False, classes: int = 3, shape: EmotionNetShape | None = None) -> None:
        super().__init__(classes, shape)
        self.print = printtoggle
        # Hooks are no part of the state dict: the weights load and save as those of a silent network.
        for name, layer in self.named_children():
            layer.register_forward_pre_hook(lambda _layer, inputs, name=name: self._tell(f"{name:6} takes ", inputs[0]))
        self.register_forward_hook(lambda _model, _inputs, output: self._tell("output       ", output))

    def _tell(self, what: str, tensor: Tensor) -> None:
        if self.print:
            print(f"{what} {list(tensor.shape)}")


def makeEmotionNet(
    printtoggle: bool = False, classes: int = 3, shape: EmotionNetShape | None = None
) -> tuple[emotionNet, nn.CrossEntropyLoss, torch.optim.Optimizer]:
    """`(model, lossfun, optimizer)`: an untrained network, cross-entropy, Adam (lr 1e-3, weight decay 1e-5).

    The arguments are those of `emotionNet`.
    """
    model = emotionNet(printtoggle, classes, shape)
    return model, nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-5)
