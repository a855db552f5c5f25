"""A search space: which fields of a recipe are searched, and among which values; in TOML, shaped like a recipe.

An entry is a field with `choices`, or with `low` and `high` and perhaps `log` or `step`. `choices` directly in a part
of the recipe (`[network]`) are tables of fields that are chosen together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any, Protocol

import tomli
from pydantic import BaseModel, ValidationError

from mien.errors import TrainingError, reason
from mien.report.study import SearchField, Value
from mien_train.recipe import Recipe, parse_recipe

ELSEWHERE = {
    "epochs": "every trial trains equally long; how long is an option of the search",
    "teacher_share": "trials have no teachers",
    "teacher_sees": "trials have no teachers",
}
"""Fields that cannot be searched, and why."""

KEYS = ("choices", "low", "high", "step", "log")

PARTS: dict[str, type[BaseModel]] = {
    name: info.annotation
    for name, info in Recipe.model_fields.items()
    if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel)
}
FIELDS: dict[str, Any] = {
    **{name: info.annotation for name, info in Recipe.model_fields.items() if name not in PARTS},
    **{f"{part}.{name}": info.annotation for part, m in PARTS.items() for name, info in m.model_fields.items()},
}
"""Type of each field of a recipe, by dotted path."""


class Suggests(Protocol):
    """What a space needs of an Optuna trial."""

    def suggest_categorical(self, name: str, choices: Any, /) -> Any: ...
    def suggest_float(self, name: str, low: float, high: float, /, *, step: float | None, log: bool) -> float: ...
    def suggest_int(self, name: str, low: int, high: int, /, *, step: int, log: bool) -> int: ...


@dataclass(frozen=True)
class Entry:
    """A searched field, or a part of the recipe with several fields chosen together.

    `choices` are (name, value): of plain values the two are the same; a part's value is a table of its fields.
    """

    name: str
    choices: tuple[tuple[Value, Any], ...] = ()
    low: Any = 0
    high: Any = 0
    step: Any = None
    log: bool = False
    whole: bool = False

    def suggest(self, trial: Suggests) -> Value:
        """The value, or the choice's name, that the search wants tried."""
        if self.choices:
            return trial.suggest_categorical(self.name, [name for name, _ in self.choices])
        if self.whole:
            return trial.suggest_int(self.name, self.low, self.high, step=self.step or 1, log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, step=self.step, log=self.log)

    def named(self) -> tuple[str, ...]:
        """Dotted paths of the fields that it decides."""
        if self.name not in PARTS:
            return (self.name,)
        return tuple(sorted({f"{self.name}.{key}" for _, table in self.choices for key in table}))

    def values(self, param: Value) -> dict[str, Any]:
        """Field values by dotted path, given the value or the choice's name."""
        if not self.choices:
            return {self.name: param}
        value = next(v for name, v in self.choices if name == param)
        return {f"{self.name}.{k}": v for k, v in value.items()} if self.name in PARTS else {self.name: value}

    def param_of(self, recipe: Recipe) -> Value | None:
        """The value, or the choice's name, that gives what `recipe` has; None: it cannot come out of this entry."""
        if self.choices:
            fits = (n for n, _ in self.choices if all(_get(recipe, k) == v for k, v in self.values(n).items()))
            return next(fits, None)
        value = _get(recipe, self.name)
        inside = self.low <= value <= self.high and (not self.step or _on_grid(self.low, value, self.step))
        return value if inside else None


@dataclass(frozen=True)
class Space:
    """What is searched, entry by entry."""

    entries: tuple[Entry, ...]

    def suggest(self, trial: Suggests) -> dict[str, Value]:
        """Values of all entries, as the search wants them tried."""
        return {entry.name: entry.suggest(trial) for entry in self.entries}

    def recipe(self, base: Recipe, params: Mapping[str, Value]) -> Recipe:
        """`base` with the searched fields set."""
        values = base.model_dump()
        for entry in self.entries:
            for path, value in entry.values(params[entry.name]).items():
                _set(values, path, value)
        return parse_recipe(values, "trial")

    def params_of(self, recipe: Recipe) -> dict[str, Value] | None:
        """The values with which the search would make `recipe`; None where it cannot."""
        found = {entry.name: entry.param_of(recipe) for entry in self.entries}
        params = {name: value for name, value in found.items() if value is not None}
        return params if len(params) == len(found) else None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, equal for equal spaces."""
        return {
            e.name: [name for name, _ in e.choices]
            if e.choices
            else {"low": e.low, "high": e.high, "step": e.step, "log": e.log}
            for e in self.entries
        }

    def fields(self) -> tuple[SearchField, ...]:
        """The same for reports."""
        return tuple(
            SearchField(e.name, tuple(name for name, _ in e.choices), float(e.low), float(e.high), e.log)
            for e in self.entries
        )


def load_space(path: Path | None, base: Recipe) -> Space:
    """Read a space from TOML; None: the bundled one. `base` has the values of what is not searched.

    Raises:
        TrainingError: no such file, not TOML, an unknown field (with the nearest known one), a value out of its field's
            range, or ends the wrong way round: all that is wrong is named.
    """
    source = str(path or "the bundled space")
    try:
        file = path or resources.files("mien_train") / "spaces/default.toml"
        values = tomli.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise TrainingError(f"{source}: cannot read the space ({reason(error)})") from error
    except (tomli.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TrainingError(f"{source}: not valid TOML ({error})") from error
    return parse_space(values, source, base)


def parse_space(values: dict[str, Any], source: str, base: Recipe) -> Space:
    """Validate a space given as nested dictionaries; `source` names it in errors."""
    entries: list[Entry] = []
    problems: list[str] = []
    for path, value in _walk(values, ""):
        found = _read(path, value)
        if isinstance(found, Entry):
            entries.append(found)
        else:
            problems.append(found)
    named = [path for entry in entries for path in entry.named()]
    problems += [f"{path}: searched by two entries" for path in sorted({p for p in named if named.count(p) > 1})]
    if not problems and not entries:
        problems.append("nothing to search; name a field with choices, or with low and high")
    if not problems:
        problems += _stages(entries, base)
    if problems:
        raise TrainingError(f"{source}: {'; '.join(problems)}")
    return Space(tuple(entries))


class _SpaceProblem(Exception):
    """One thing that is wrong with a space."""


def _read(path: str, value: Any) -> Entry | str:
    """An entry, or what is wrong with it."""
    try:
        return _joint(path, value) if path in PARTS else _entry(path, value)
    except _SpaceProblem as error:
        return str(error)


def _walk(values: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        path = f"{prefix}.{key}" if prefix else key
        if prefix and key == "choices":
            yield prefix, value
        elif path in PARTS and isinstance(value, dict):
            yield from _walk(value, path)
        else:
            yield path, value if path not in PARTS else None


def _entry(path: str, value: Any) -> Entry:
    if path not in FIELDS:
        near = get_close_matches(path, list(FIELDS), n=1, cutoff=0.4)
        raise _SpaceProblem(f"unknown field {path!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    if path in ELSEWHERE:
        raise _SpaceProblem(f"{path} cannot be searched: {ELSEWHERE[path]}")
    if not isinstance(value, dict):
        raise _SpaceProblem(
            f"{path}: expected a table with choices, or with low and high, found {value!r}; a fixed value belongs in "
            "the recipe"
        )
    for key in set(value) - set(KEYS):
        near = get_close_matches(key, KEYS, n=1, cutoff=0.4)
        raise _SpaceProblem(f"{path}: unknown key {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    if "choices" not in value:
        return _range(path, value)
    if len(value) > 1:
        raise _SpaceProblem(
            f"{path}: has both choices and {', '.join(sorted(set(value) - {'choices'}))}; give one or the other"
        )
    values = [_valid(path, "choices", choice) for choice in _list(path, value["choices"])]
    return Entry(path, _distinct(path, [(_name(v), v) for v in values]))


def _range(path: str, value: dict[str, Any]) -> Entry:
    whole = FIELDS[path] is int
    if FIELDS[path] not in (int, float):
        raise _SpaceProblem(f"{path}: not a number, so it has no low and high; give choices")
    if missing := [key for key in ("low", "high") if key not in value]:
        raise _SpaceProblem(f"{path}: {' and '.join(missing)} missing; give low and high, or choices")
    for key in ("low", "high", "step"):
        if key in value and (isinstance(value[key], bool) or not isinstance(value[key], (int, float))):
            raise _SpaceProblem(f"{path}.{key}: expected a number, found {value[key]!r}")
    low, high = (_valid(path, key, value[key]) for key in ("low", "high"))
    step, log = value.get("step"), value.get("log", False)
    if not isinstance(log, bool):
        raise _SpaceProblem(f"{path}.log: expected true or false, found {log!r}")
    if low > high:
        raise _SpaceProblem(f"{path}: low {low:g} is above high {high:g}")
    if log and low <= 0:
        raise _SpaceProblem(f"{path}: low is {low:g}, and a logarithm needs it above 0")
    if log and step is not None:
        raise _SpaceProblem(f"{path}: has both log and step; give one of them")
    if step is not None and (step <= 0 or (whole and step != int(step))):
        raise _SpaceProblem(
            f"{path}.step: expected {'a whole number' if whole else 'a number'} above 0, found {step:g}"
        )
    if step is not None and not _on_grid(low, high, step):
        raise _SpaceProblem(f"{path}: high {high:g} is not low {low:g} plus a number of steps of {step:g}")
    return Entry(path, (), low, high, step and (int(step) if whole else float(step)), log, whole)


def _joint(part: str, value: Any) -> Entry:
    """Tables of fields of one part of the recipe."""
    if value is None:
        raise _SpaceProblem(f"{part}: expected a table of fields")
    choices: list[tuple[Value, Any]] = []
    for table in _list(part, value):
        if not isinstance(table, dict) or not table:
            raise _SpaceProblem(f"{part}.choices: expected tables of fields, as {{ dropout = 0.1 }}, found {table!r}")
        try:
            valid = getattr(parse_recipe({part: table}, f"{part}.choices"), part)
        except TrainingError as error:
            raise _SpaceProblem(str(error)) from error
        values = {key: getattr(valid, key) for key in table}
        choices.append((", ".join(f"{key} {_name(v)}" for key, v in values.items()), values))
    return Entry(part, _distinct(part, choices))


def _list(path: str, value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise _SpaceProblem(f"{path}.choices: expected a list with at least one value, found {value!r}")
    return value


def _distinct(path: str, choices: list[tuple[Value, Any]]) -> tuple[tuple[Value, Any], ...]:
    names = [name for name, _ in choices]
    if twice := [name for name in names if names.count(name) > 1]:
        raise _SpaceProblem(f"{path}.choices: {twice[0]!r} stands there twice")
    return tuple(choices)


def _valid(path: str, key: str, value: Any) -> Any:
    """The value as the recipe holds it."""
    nested: dict[str, Any] = {}
    _set(nested, path, value)
    try:
        return _get(Recipe.model_validate(nested), path)
    except ValidationError as error:
        raise _SpaceProblem(f"{path}.{key}: {error.errors()[0]['msg']} (found {value!r})") from error


def _stages(entries: list[Entry], base: Recipe) -> Iterator[str]:
    """Networks need as many widths as blocks, whatever is chosen."""
    lengths: dict[str, set[int]] = {}
    for name in ("widths", "blocks"):
        values = [v for e in entries if e.name == f"network.{name}" for _, v in e.choices]
        lengths[name] = {len(v) for v in values or [getattr(base.network, name)]}
    joint = next((e for e in entries if e.name == "network"), None)
    tables = [table for _, table in joint.choices] if joint else [{}]
    for table in tables:
        widths = {len(table["widths"])} if "widths" in table else lengths["widths"]
        blocks = {len(table["blocks"])} if "blocks" in table else lengths["blocks"]
        if len(widths | blocks) > 1:
            yield (
                f"network.widths has {' or '.join(map(str, sorted(widths)))} stages and network.blocks "
                f"{' or '.join(map(str, sorted(blocks)))}; both need as many: choose them together with choices = "
                "[{ widths = ..., blocks = ... }, ...] in [network]"
            )
            return


def _name(value: Any) -> Value:
    return "-".join(map(str, value)) if isinstance(value, tuple) else value


def _on_grid(low: float, value: float, step: float) -> bool:
    return (Decimal(str(value)) - Decimal(str(low))) % Decimal(str(step)) == 0


def _get(recipe: Recipe, path: str) -> Any:
    value: Any = recipe
    for name in path.split("."):
        value = getattr(value, name)
    return value


def _set(values: dict[str, Any], path: str, value: Any) -> None:
    *parts, last = path.split(".")
    for part in parts:
        values = values.setdefault(part, {})
    values[last] = value
