"""The SI100B course's `my_net`, thin over mien and mien_train.

    my_net.classify   the network: emotionNet, makeEmotionNet (yours may stand there instead)
    my_net.utility    data, training, pictures and numbers: loadTrain, loadTest, function2trainModel,
                      imshow_with_labels, plotCurves, plotConfusionMatrix, accuracies, recalls, fScores, resultLine

The names are the course's. Every function stands in `my_net` as well. Importing `my_net` also sees to it that windows
become files where there is no display (`my_net.display`), and that `torchvision` has a stand-in where it is missing
(`my_net.vision`).
"""

from typing import Any

from . import vision

vision.stand_in()  # before anything may import torchvision

from . import display  # noqa: E402

display.windows_to_files()

from . import classify, utility  # noqa: E402
from .utility import *  # noqa: E402, F403
from .utility import __all__ as _names  # noqa: E402

__all__ = ["classify", "utility", *_names]


def __getattr__(name: str) -> Any:
    """`my_net.makeEmotionNet` is whatever `my_net/classify.py` has under that name."""
    try:
        return getattr(classify, name)
    except AttributeError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
