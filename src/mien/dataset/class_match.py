"""Which classes of a model and of a data set are the same, by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mien.dataset.labels import canonical, clashes
from mien.errors import DatasetError, Remedy


@dataclass(frozen=True, slots=True)
class ClassMatch:
    """What is compared when a model is measured on a data set.

    Attributes:
        classes: the shared classes, canonical names, sorted.
        columns: for each of them, its column in the model's output.
        model_only: classes that the model has and the data has not; they cannot be predicted here.
        data_only: classes that the data has and the model has not; their samples are left out.
    """

    classes: tuple[str, ...]
    columns: tuple[int, ...]
    model_only: tuple[str, ...] = ()
    data_only: tuple[str, ...] = ()


def match_classes(
    model_classes: Sequence[str], data_classes: Sequence[str], *, shared_only: bool = False
) -> ClassMatch:
    """Match by canonical name ("Happiness" is "happy"), never by position.

    A model that knows more classes than the data is measured on the shared ones. Its probabilities are restricted to
    them and renormalized, so that a class which cannot be right is never chosen. Data with a class that the model does
    not know is refused, as every such sample would be an error by construction; `shared_only` leaves them out instead.

    Raises:
        DatasetError: data classes that the model does not know, fewer than two shared classes, or two classes of the
            model that mean the same.
    """
    for first, second in clashes(model_classes):
        raise DatasetError(f"the model's classes {first!r} and {second!r} both mean {canonical(first)!r}")
    column_of = {canonical(name): column for column, name in enumerate(model_classes)}
    wanted = {canonical(name) for name in data_classes}
    unknown = tuple(sorted(wanted - set(column_of)))
    if unknown and not shared_only:
        raise DatasetError(
            f"the model does not know class {', '.join(unknown)} of this data set; it knows {', '.join(column_of)}. "
            "Rename the class, or leave its pictures out",
            Remedy.CLASSES_SHARED,
        )
    shared = tuple(sorted(wanted & set(column_of)))
    if len(shared) < 2:
        raise DatasetError(
            f"expected at least two classes that model and data share, found {', '.join(shared) or 'none'} "
            f"(model: {', '.join(column_of)}; data: {', '.join(sorted(wanted))})"
        )
    return ClassMatch(shared, tuple(column_of[c] for c in shared), tuple(sorted(set(column_of) - wanted)), unknown)
