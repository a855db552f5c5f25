"""What the course's scripts call: data, training, pictures, numbers. Each stands in its own module."""

from .data import load_data, loadTest, loadTrain, transform
from .figures import imshow_with_labels, plotConfusionMatrix, plotCurves
from .measures import accuracies, confusionMatrix, fScores, predictAll, recalls, resultLine
from .training import function2trainModel
from .weights import loadTrained

__all__ = [
    "accuracies",
    "confusionMatrix",
    "fScores",
    "function2trainModel",
    "imshow_with_labels",
    "loadTest",
    "loadTrain",
    "loadTrained",
    "load_data",
    "plotConfusionMatrix",
    "plotCurves",
    "predictAll",
    "recalls",
    "resultLine",
    "transform",
]
