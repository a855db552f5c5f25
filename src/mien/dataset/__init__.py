"""Labelled data sets: class folders, CSV tables, `fer2013.csv`, FER+ votes."""

from mien.dataset.fer2013 import ImportReport, import_fer2013
from mien.dataset.folders import has_split, read_split
from mien.dataset.labels import SEVEN, canonical
from mien.dataset.match import ClassMatch, match_classes
from mien.dataset.samples import ONE_SPLIT, SPLITS, Sample, Split
from mien.dataset.table import exclude, open_dataset, open_splits, read_table, training_split

__all__ = [
    "ONE_SPLIT",
    "SEVEN",
    "SPLITS",
    "ClassMatch",
    "ImportReport",
    "Sample",
    "Split",
    "canonical",
    "exclude",
    "has_split",
    "import_fer2013",
    "match_classes",
    "open_dataset",
    "open_splits",
    "read_split",
    "read_table",
    "training_split",
]
