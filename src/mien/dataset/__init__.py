"""Labeled data sets: class folders, CSV tables, `fer2013.csv`, FER+ votes."""

from mien.dataset.class_match import ClassMatch, match_classes
from mien.dataset.fer2013 import ImportReport, import_fer2013
from mien.dataset.folders import read_split
from mien.dataset.label_map import read_label_map, relabeled
from mien.dataset.labels import SEVEN, canonical
from mien.dataset.samples import ONE_SPLIT, SPLITS, Sample, Split
from mien.dataset.split_names import SPLIT_NAMES, known_split, split_named
from mien.dataset.table import exclude, has_split, open_dataset, open_splits, read_table, training_split
from mien.dataset.training import check_training_data

__all__ = [
    "ONE_SPLIT",
    "SEVEN",
    "SPLITS",
    "SPLIT_NAMES",
    "ClassMatch",
    "ImportReport",
    "Sample",
    "Split",
    "canonical",
    "check_training_data",
    "exclude",
    "has_split",
    "import_fer2013",
    "known_split",
    "match_classes",
    "open_dataset",
    "open_splits",
    "read_label_map",
    "read_split",
    "read_table",
    "relabeled",
    "split_named",
    "training_split",
]
