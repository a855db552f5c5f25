"""What the course's scripts call: data, training, pictures, numbers. Each stands in its own module."""

from my_net.data import loadTest, loadTrain
from my_net.figures import imshow_with_labels, plotConfusionMatrix, plotCurves
from my_net.measures import accuracies, confusionMatrix, fScores, predictAll, recalls, resultLine
from my_net.training import function2trainModel

__all__ = [
    "accuracies",
    "confusionMatrix",
    "fScores",
    "function2trainModel",
    "imshow_with_labels",
    "loadTest",
    "loadTrain",
    "plotConfusionMatrix",
    "plotCurves",
    "predictAll",
    "recalls",
    "resultLine",
]
