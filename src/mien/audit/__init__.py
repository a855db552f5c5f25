"""Is a data set what it seems? Duplicates, leaks between splits, labels that contradict, pictures that are none."""

from mien.audit.fix import to_csv, to_leave_out
from mien.audit.records import Audit, DuplicateGroup, FaceCheck, LabelCheck, Pair, Picture, Unreadable, WrongLabel
from mien.audit.run import audit

__all__ = [
    "Audit",
    "DuplicateGroup",
    "FaceCheck",
    "LabelCheck",
    "Pair",
    "Picture",
    "Unreadable",
    "WrongLabel",
    "audit",
    "to_csv",
    "to_leave_out",
]
