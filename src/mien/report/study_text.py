"""A study as lines of text and as JSON; docs/train/tune.md describes the schema."""

from __future__ import annotations

import json
from dataclasses import asdict

from mien._version import __version__
from mien.report.study import SearchField, Study, Trial, show
from mien.timing import clock_time

SCHEMA_VERSION = 1
"""Fields may be added within a version; any other change raises it."""

WORDS = {"complete": "complete", "pruned": "stopped", "failed": "failed", "interrupted": "interrupted",
         "running": "running"}  # fmt: skip
"""States, for people."""

HEADER = f"{'trial':>5}  {'state':11}  {'accuracy':>8}  {'epochs':>6}  {'time':>7}  values"
IMPORTANT = 5


def to_json(study: Study) -> str:
    """JSON of schema `SCHEMA_VERSION`; accuracies are shares, 0..1."""
    return json.dumps(as_document(study), indent=2, allow_nan=False) + "\n"


def as_document(study: Study) -> dict[str, object]:
    """What `to_json` writes, as plain dicts, lists, strings and numbers."""
    best = study.best
    return {
        "schema": "mien.study",
        "schema_version": SCHEMA_VERSION,
        "mien": __version__,
        "name": study.name,
        "data": study.data,
        "epochs": study.epochs,
        "wanted": study.wanted,
        "finished": len(study.finished),
        "complete": len(study.of_state("complete")),
        "pruned": len(study.of_state("pruned")),
        "failed": len(study.of_state("failed")),
        "best": None if best is None else {"number": best.number, "accuracy": best.accuracy},
        "base_accuracy": study.base.accuracy if study.base else None,
        "best_recipe": study.best_recipe or None,
        "command": study.command or None,
        "importances": dict(study.importances),
        "fields": [_field(f) for f in study.fields],
        "trials": [{**asdict(t), "params": dict(t.params), "curve": list(t.curve)} for t in study.trials],
    }


def _field(field: SearchField) -> dict[str, object]:
    if field.choices:
        return {"name": field.name, "choices": list(field.choices)}
    return {"name": field.name, "low": field.low, "high": field.high, "log": field.log}


def trial_line(trial: Trial) -> str:
    """One line of a table under `HEADER`."""
    accuracy = "" if trial.accuracy is None else f"{trial.accuracy:.2%}"
    return (
        f"{trial.number:>5}  {WORDS[trial.state]:11}  {accuracy:>8}  {len(trial.curve):>6}  "
        f"{duration(trial.seconds):>7}  {values_of(trial)}"
    )


def values_of(trial: Trial) -> str:
    """The searched values, and what is special about the trial."""
    notes = ["the base recipe"] if trial.is_base else []
    notes += [f"as trial {trial.same_as}"] if trial.same_as is not None else []
    values = " ".join(f"{name}={_quoted(show(value))}" for name, value in trial.params.items())
    return values + (f"  ({', '.join(notes)})" if notes else "")


def summary_lines(study: Study) -> list[str]:
    """What the study came to."""
    pruned, failed = len(study.of_state("pruned")), len(study.of_state("failed"))
    lines = [f"{len(study.finished)} of {study.wanted} trials finished: {pruned} stopped early, {failed} failed"]
    best, base = study.best, study.base
    if best is None:
        return lines
    lines.append(f"best: trial {best.number}, {best.accuracy:.2%} of validation without repeats{_than(best, base)}")
    if study.importances:
        ranked = sorted(study.importances.items(), key=lambda pair: -pair[1])[:IMPORTANT]
        lines.append("matters most: " + ", ".join(f"{name} {share:.0%}" for name, share in ranked))
    return lines


def _than(best: Trial, base: Trial | None) -> str:
    if base is None or base.accuracy is None:
        return ""
    return " (the base recipe)" if base is best else f" (the base recipe: {base.accuracy:.2%})"


def duration(seconds: float | None) -> str:
    """1:02:03, 2:03 or 3.4s; nothing for None."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f}s"
    return clock_time(seconds)


def _quoted(text: str) -> str:
    return f'"{text}"' if " " in text else text
