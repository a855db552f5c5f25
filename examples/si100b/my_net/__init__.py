"""The SI100B course's `my_net`, thin over mien and mien_train.

    my_net.classify   the network: makeEmotionNet, loadTrained
    my_net.utility    data, training, pictures and numbers: loadTrain, loadTest, function2trainModel,
                      imshow_with_labels, plotCurves, plotConfusionMatrix, accuracies, recalls, fScores, resultLine

The names are the course's. Every function stands in `my_net` as well, and `function2trainModel` in `my_net.classify`.
"""

from my_net import classify, utility
from my_net.classify import loadTrained, makeEmotionNet
from my_net.utility import (
    accuracies,
    confusionMatrix,
    fScores,
    function2trainModel,
    imshow_with_labels,
    loadTest,
    loadTrain,
    plotConfusionMatrix,
    plotCurves,
    predictAll,
    recalls,
    resultLine,
)

__all__ = [
    "accuracies",
    "classify",
    "confusionMatrix",
    "fScores",
    "function2trainModel",
    "imshow_with_labels",
    "loadTest",
    "loadTrain",
    "loadTrained",
    "makeEmotionNet",
    "plotConfusionMatrix",
    "plotCurves",
    "predictAll",
    "recalls",
    "resultLine",
    "utility",
]
