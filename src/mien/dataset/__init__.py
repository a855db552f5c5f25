"""Labelled data sets: class folders, `fer2013.csv`, FER+ votes."""

from mien.dataset.fer2013 import ImportReport, import_fer2013
from mien.dataset.folders import has_split, read_split
from mien.dataset.labels import SEVEN, canonical
from mien.dataset.samples import SPLITS, Sample, Split

__all__ = [
    "SEVEN",
    "SPLITS",
    "ImportReport",
    "Sample",
    "Split",
    "canonical",
    "has_split",
    "import_fer2013",
    "read_split",
]
