"""A study as one HTML page that needs nothing else, complete without a script, in light and in dark."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from markupsafe import Markup

from mien.report import study_charts as charts
from mien.report.html import fill, read_part, to_page
from mien.report.study import SearchField, Study, Trial, show
from mien.report.study_text import WORDS, duration

MAX_ROWS = 500
"""At most this many trials are listed, the best ones; the JSON has all."""

MAX_REASONS = 20


def to_html(study: Study) -> str:
    """The page; a few hundred kilobytes at most, however many trials there are."""
    drawn = any(t.accuracy is not None for t in study.finished)
    body = fill(
        "study.html",
        style=read_part("study.css"),
        study=study.name if study.name.lower().startswith("study") else f"Study {study.name}",
        data=study.data,
        finished=f"{len(study.finished):,}",
        wanted=f"{study.wanted:,}",
        epochs=str(study.epochs),
        key_figures=Markup(_key_figures(study)),
        nothing=Markup("" if drawn else "<p>No trial has come to an accuracy yet.</p>"),
        progress=Markup(charts.progress(study) if drawn else ""),
        curves=Markup(charts.curves(study) if drawn else ""),
        importance=Markup(_importance(study)),
        best=Markup(_best(study)),
        fields=Markup(
            "".join(f"<div><h3>{escape(f.name)}</h3>{charts.by_field(study, f)}</div>" for f in _ranked(study) if drawn)
        ),
        failures=Markup(_failures(study.of_state("failed"))),
        table_note=_table_note(study),
        table=Markup(_table(study)),
    )
    return to_page(f"study {study.name}", body)


def _key_figures(study: Study) -> str:
    best, base = study.best, study.base
    spent = sum(t.seconds or 0.0 for t in study.trials)
    figures = [
        ("best accuracy", _percent(best), f"trial {best.number}" if best else ""),
        ("base recipe", _percent(base), "" if base else "not among what is searched"),
        ("finished", f"{len(study.finished)} / {study.wanted}", f"{len(study.of_state('running'))} running"),
        ("stopped early", str(len(study.of_state("pruned"))), "worse than the median so far"),
        ("failed", str(len(study.of_state("failed"))), ""),
        ("time", duration(spent), "of all trials together"),
    ]
    return "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(note)}</small></dd></div>"
        for name, value, note in figures
    )


def _importance(study: Study) -> str:
    if not study.importances:
        return ""
    return (
        "<section><h2>What matters</h2><p>How much each field decides whether a complete trial is among the best (PED-"
        f"ANOVA); with few trials, a hint.</p>{charts.importance(study)}</section>"
    )


def _best(study: Study) -> str:
    if not study.best_recipe:
        return ""
    return (
        "<section class='long'><h2>The best recipe</h2><p>It stands in best.toml.</p>"
        f"<pre>{escape(study.command)}</pre><pre>{escape(study.best_recipe)}</pre></section>"
    )


def _ranked(study: Study) -> list[SearchField]:
    return sorted(study.fields, key=lambda f: -study.importances.get(f.name, 0.0))


def _failures(failed: Sequence[Trial]) -> str:
    if not failed:
        return ""
    lines = "".join(f"<li>Trial {t.number}: {escape(t.reason)}</li>" for t in failed[:MAX_REASONS])
    more = len(failed) - MAX_REASONS
    tail = f"<li>and {more} more</li>" if more > 0 else ""
    return f"<section class='long'><h2>Failed</h2><ul>{lines}{tail}</ul></section>"


def _table_note(study: Study) -> str:
    shown = "The best first."
    return shown if len(study.trials) <= MAX_ROWS else f"The best {MAX_ROWS} of {len(study.trials)}."


def _table(study: Study) -> str:
    names = ("trial", "state", "accuracy", "epochs", "time")
    heads = "".join(f'<th scope="col"{_kind(name)}>{name}</th>' for name in names)
    heads += "".join(f'<th scope="col" class="value">{escape(f.name)}</th>' for f in study.fields)
    rows = "".join(_row(t, study) for t in _sorted(study.trials)[:MAX_ROWS])
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def _row(trial: Trial, study: Study) -> str:
    note = "base recipe" if trial.is_base else f"as {trial.same_as}" if trial.same_as is not None else ""
    small = f"<small>{note}</small>" if note else ""
    cells = [
        f'<th scope="row">{trial.number}</th>',
        f'<td class="state">{WORDS[trial.state]}{small}</td>',
        f"<td>{_percent(trial)}</td>",
        f"<td>{len(trial.curve)}</td>",
        f"<td>{duration(trial.seconds)}</td>",
    ]
    for field in study.fields:
        value = trial.params.get(field.name)
        cells.append(f'<td class="value">{"" if value is None else escape(show(value))}</td>')
    kind = ' class="chosen"' if trial is study.best else ""
    return f"<tr{kind}>{''.join(cells)}</tr>"


def _sorted(trials: Sequence[Trial]) -> list[Trial]:
    order = list(WORDS)
    return sorted(trials, key=lambda t: (order.index(t.state), -(t.accuracy or 0.0), t.number))


def _kind(name: str) -> str:
    return ' class="state"' if name == "state" else ""


def _percent(trial: Trial | None) -> str:
    return "" if trial is None or trial.accuracy is None else f"{trial.accuracy:.2%}"
