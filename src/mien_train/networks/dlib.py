"""dlib's face recognition network as weights to start from: `dlib_face_recognition_resnet_model_v1.dat`.

It learned to tell people apart on three million photos and is in the public domain (CC0); the package
face_recognition_models carries it. Its layers are those of our residual network with a wide stem: see `LAYOUT`.
"""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mien.errors import TrainingError, reason
from mien_train.networks.resnet import ResNet

WIDTHS, BLOCKS = (32, 64, 128, 256), (3, 4, 3, 3)
"""Its stages (http://dlib.net/dnn_face_recognition_ex.cpp.html), but for a last block that halves once more."""

STEM_KERNEL = 7

DOUBLED = np.array(
    [
        [0.75, 0.25, 0, 0, 0],
        [0.25, 0.75, 0, 0, 0],
        [0, 0.75, 0.25, 0, 0],
        [0, 0.25, 0.75, 0, 0],
        [0, 0, 0.75, 0.25, 0],
        [0, 0, 0.25, 0.75, 0],
        [0, 0, 0, 0.75, 0.25],
    ],
    np.float32,
)
"""What each of seven neighbors in a row twice as long, interpolated linearly, takes from five of the row itself."""

CONTRAST = 127.5 / 256
"""dlib divides gray levels by 256 where we divide by 127.5."""

_ONE = b"\x01\x01"


def dlib_tensors(source: Path, network: ResNet) -> dict[str, Tensor]:
    """Convolutions for `network` as its bundle would hold them, normalizations folded in; all but the head.

    The network then computes, inside the picture, what dlib's does with the picture doubled in size.

    Raises:
        TrainingError: not that file, or another network than one with a wide stem and at most its stages and blocks.
    """
    widths, blocks = network.recipe.widths, network.recipe.blocks
    fits = widths == WIDTHS[: len(widths)] and all(a <= b for a, b in zip(blocks, BLOCKS, strict=False))
    if not fits or network.recipe.stem != "wide" or network.recipe.attention != "none" or network.recipe.inner != 1:
        raise TrainingError(
            f"{source}: dlib's network; expected network.stem = 'wide', widths = {list(WIDTHS)}, blocks of at most "
            f"{list(BLOCKS)} or the first stages of these, no attention, inner = 1"
        )
    stored = _StoredNetwork(source)
    found: dict[str, Tensor] = {}
    seen = network.stem.get_parameter("0.weight").shape[1]
    weight, bias = stored.convolution(WIDTHS[0], 3, STEM_KERNEL)
    colors = weight if seen == 3 else weight.sum(axis=1, keepdims=True)
    _put(found, "stem.0", CONTRAST * np.einsum("oiyx,ya,xb->oiab", colors, DOUBLED, DOUBLED), bias)
    starts = [0, *accumulate(blocks)]
    width_in = WIDTHS[0]
    for stage, width in enumerate(widths):
        for number in range(BLOCKS[stage]):
            name = f"stages.{starts[stage] + number}"
            first, second = stored.convolution(width, width_in, 3), stored.convolution(width, width, 3)
            if number < blocks[stage]:
                _put(found, f"{name}.conv1", *first)
                _put(found, f"{name}.conv2", *second)
                if width != width_in:  # dlib's shortcut passes the channels on and adds empty ones
                    _put(found, f"{name}.shortcut.1", np.eye(width, width_in, dtype=np.float32)[:, :, None, None])
            width_in = width
    return found


class _StoredNetwork:
    """The file's convolutions, from the picture on; each is followed by a scale and an offset for every channel.

    A tensor is a version (2), four dimensions, each a byte that counts bytes and those bytes, and float32 values.
    """

    def __init__(self, source: Path) -> None:
        self.source = source
        try:
            self.data = source.read_bytes()
        except OSError as error:
            raise TrainingError(f"{source}: cannot read the weights ({reason(error)})") from error
        self.place = 0

    def convolution(self, out: int, into: int, kernel: int) -> tuple[np.ndarray, np.ndarray]:
        """Weights `[out, into, kernel, kernel]` and offsets `[out]`, with the scale folded in."""
        size = out * into * kernel**2
        values, affine = self._tensor(size + out), self._tensor(2 * out)
        scale, offset = affine[:out], affine[out:]
        weight = values[:size].reshape(out, into, kernel, kernel)
        return weight * scale[:, None, None, None], values[size:] * scale + offset

    def _tensor(self, count: int) -> np.ndarray:
        digits = count.to_bytes((count.bit_length() + 7) // 8, "little")
        header = b"\x01\x02" + bytes([len(digits)]) + digits + 3 * _ONE
        at = self.data.find(header, self.place)
        start = at + len(header)
        self.place = start + 4 * count
        if at < 0 or self.place > len(self.data):
            raise TrainingError(
                f"{self.source}: expected dlib_face_recognition_resnet_model_v1.dat, and a layer of {count} values is "
                "missing"
            )
        values = np.frombuffer(self.data, "<f4", count, start)
        if not np.isfinite(values).all():
            raise TrainingError(f"{self.source}: damaged; a layer of {count} values has some that are not finite")
        return values


def _put(found: dict[str, Tensor], name: str, weight: np.ndarray, bias: np.ndarray | None = None) -> None:
    found[f"{name}.weight"] = torch.from_numpy(np.ascontiguousarray(weight, np.float32))
    if bias is not None:
        found[f"{name}.weight_bias"] = torch.from_numpy(np.ascontiguousarray(bias, np.float32))
