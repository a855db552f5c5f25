"""A search over recipes as plain records: what was searched, and what each trial came to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

Value = str | int | float | bool
"""A value of a searched field; of lists and tables, their name."""

State = Literal["complete", "pruned", "failed", "interrupted", "running"]

FINISHED: tuple[State, ...] = ("complete", "pruned", "failed")
"""What counts as tried. An interrupted trial, whose process died, does not: it is tried again."""


@dataclass(frozen=True)
class SearchField:
    """A searched field of a recipe, by its dotted path: some `choices`, or the range `low`..`high`."""

    name: str
    choices: tuple[Value, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False

    def position(self, value: Value) -> float:
        """Where `value` lies between the field's ends, 0..1; choices have equal shares, and lie in their middles.

        Raises:
            ValueError: it is none of the choices.
        """
        if self.choices:
            return (self.choices.index(value) + 0.5) / len(self.choices)
        low, high, at = self.low, self.high, float(value)
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(at)
        return (at - low) / (high - low) if high > low else 0.5


@dataclass(frozen=True)
class Trial:
    """One recipe that was tried.

    Attributes:
        accuracy: 0..1, after the last epoch, on the validation pictures that do not stand in training; of a pruned or
            running trial the accuracy so far, None before its first epoch.
        params: the values of the searched fields.
        curve: the accuracy after each epoch.
        seconds: from start to end; None while it runs.
        reason: why it failed.
        is_base: whether it is the recipe that the study began with.
        same_as: the earlier trial with the same values, whose outcome was taken over.
        folder: its run folder within that of the study, on the machine that trained it.
    """

    number: int
    state: State
    accuracy: float | None = None
    params: Mapping[str, Value] = field(default_factory=dict[str, Value])
    curve: tuple[float, ...] = ()
    started: str = ""
    seconds: float | None = None
    reason: str = ""
    is_base: bool = False
    same_as: int | None = None
    folder: str = ""


@dataclass(frozen=True)
class Study:
    """A search: its fields, its trials by number, and what they tell.

    Attributes:
        wanted: how many trials shall be finished.
        epochs: of each trial.
        importances: of each field, summing to 1; empty while there are too few trials to tell.
        best_recipe: the best trial's recipe as TOML; empty before there is one.
        command: what trains it.
    """

    name: str
    data: str
    wanted: int
    epochs: int
    fields: tuple[SearchField, ...]
    trials: tuple[Trial, ...]
    importances: Mapping[str, float] = field(default_factory=dict[str, float])
    best_recipe: str = ""
    command: str = ""

    @cached_property
    def finished(self) -> Sequence[Trial]:
        """Trials that came to an end of their own."""
        return [t for t in self.trials if t.state in FINISHED]

    def of_state(self, state: State) -> Sequence[Trial]:
        """The trials in one state."""
        return [t for t in self.trials if t.state == state]

    @cached_property
    def best(self) -> Trial | None:
        """The complete trial with the highest accuracy, of equals the first."""
        return max(self.of_state("complete"), key=lambda t: (t.accuracy or 0.0, -t.number), default=None)

    @cached_property
    def base(self) -> Trial | None:
        """The complete trial of the recipe that the study began with, if it is one of those that can be searched."""
        return next((t for t in self.of_state("complete") if t.is_base), None)


def show(value: Value) -> str:
    """A value as people write it; floats to four digits."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
