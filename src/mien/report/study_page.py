"""A study as one HTML page that needs nothing else, complete without a script, in light and in dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from mien.report import study_charts as charts
from mien.report.html import KeyFigures, fill, read_part, to_page
from mien.report.study import SearchField, Study, Trial, show
from mien.report.study_text import WORDS, duration

MAX_ROWS = 500
"""At most this many trials are listed, the best ones; the JSON has all."""

MAX_REASONS = 20


def to_html(study: Study) -> str:
    """The page; a few hundred kilobytes at most, however many trials there are."""
    has_accuracy = any(t.accuracy is not None for t in study.finished)
    failed = study.of_state("failed")
    body = fill(
        "study/page.html",
        style=read_part("study.css"),
        title=study.name if study.name.lower().startswith("study") else f"Study {study.name}",
        study=study,
        figures=_key_figures(study),
        has_accuracy=has_accuracy,
        progress=Markup(charts.progress(study) if has_accuracy else ""),
        curves=Markup(charts.curves(study) if has_accuracy else ""),
        importance=Markup(charts.importance(study) if study.importances else ""),
        fields=[(f.name, Markup(charts.by_field(study, f))) for f in _ranked(study) if has_accuracy],
        failed=failed[:MAX_REASONS],
        failed_left_out=len(failed) - MAX_REASONS,
        table_note=_table_note(study),
        rows=[_row(trial, study) for trial in _sorted(study.trials)[:MAX_ROWS]],
    )
    return to_page(f"study {study.name}", body)


def _key_figures(study: Study) -> KeyFigures:
    best, base = study.best, study.base
    spent = sum(t.seconds or 0.0 for t in study.trials)
    return [
        ("best accuracy", _percent(best), f"trial {best.number}" if best else ""),
        ("base recipe", _percent(base), "" if base else "not among what is searched"),
        ("finished", f"{len(study.finished)} / {study.wanted}", f"{len(study.of_state('running'))} running"),
        ("stopped early", str(len(study.of_state("pruned"))), "worse than the median so far"),
        ("failed", str(len(study.of_state("failed"))), ""),
        ("time", duration(spent), "of all trials together"),
    ]


def _ranked(study: Study) -> list[SearchField]:
    return sorted(study.fields, key=lambda f: -study.importances.get(f.name, 0.0))


def _table_note(study: Study) -> str:
    shown = "The best first."
    return shown if len(study.trials) <= MAX_ROWS else f"The best {MAX_ROWS} of {len(study.trials)}."


def _row(trial: Trial, study: Study) -> Mapping[str, object]:
    values = [trial.params.get(field.name) for field in study.fields]
    return {
        "number": trial.number,
        "is_best": trial is study.best,
        "state": WORDS[trial.state],
        "note": "base recipe" if trial.is_base else f"as {trial.same_as}" if trial.same_as is not None else "",
        "accuracy": _percent(trial),
        "epochs": len(trial.curve),
        "time": duration(trial.seconds),
        "cells": ["" if value is None else show(value) for value in values],
    }


def _sorted(trials: Sequence[Trial]) -> list[Trial]:
    order = list(WORDS)
    return sorted(trials, key=lambda t: (order.index(t.state), -(t.accuracy or 0.0), t.number))


def _percent(trial: Trial | None) -> str:
    return "" if trial is None or trial.accuracy is None else f"{trial.accuracy:.2%}"
