"""An evaluation as one HTML page that needs nothing else: style, charts and faces stand inside it."""

from __future__ import annotations

import math
from html import escape

from markupsafe import Markup

from mien.measure.evaluate import Evaluation
from mien.measure.human_scale import PANELS, HumanScale
from mien.measure.scores import Scores
from mien.report import charts
from mien.report import thumbnails as faces
from mien.report.evaluation_text import counted, course_lines, data_name, gap_sentence, interval, percent, remarks
from mien.report.html import fill, to_page

MANY = 5
"""With more classes, the heads of the confusion matrix stand upright: they would reach into each other."""


def to_html(evaluation: Evaluation) -> str:
    """The page; under 3 MB whatever the data. Pictures it shows are read from their files again."""
    scores, truth, probabilities = evaluation.scores, evaluation.truth, evaluation.probabilities
    accuracy, recall = course_lines(scores)
    body = fill(
        "evaluation.html",
        model=evaluation.title,
        sha256=evaluation.model_sha256[:12],
        data=data_name(evaluation.data),
        split=evaluation.split,
        samples=f"{scores.samples:,}",
        human=Markup(_human(evaluation.human) if evaluation.human else ""),
        key_figures=Markup(_key_figures(scores)),
        accuracy_line=accuracy,
        recall_line=recall,
        remarks=Markup("".join(f"<li>{escape(line)}</li>" for line in remarks(evaluation))),
        confusion=Markup(_confusion(scores)),
        bars=Markup(charts.bars(scores.classes)),
        table=Markup(_table(scores)),
        reliability=Markup(charts.reliability(truth, probabilities)),
        precision_recall=Markup(charts.precision_recall(truth, probabilities, scores.classes)),
        confidences=Markup(charts.confidences(truth, probabilities)),
        batch=Markup("".join(_face(evaluation, i) for i in faces.shuffled_batch(evaluation))),
        mistakes=Markup(_mistakes(evaluation)),
        extras=Markup(_slices(evaluation) + _corrupted(evaluation)),
    )
    return to_page(f"{evaluation.title} on {evaluation.split}", body)


def _human(human: HumanScale) -> str:
    """The human scale, before everything else: key figures, and the rows that people set."""
    figures = [
        ("agrees with one person", percent(human.model.value), f"{interval(human.model)} {human.worth}"),
        ("cross-entropy to the votes", _plain(human.cross_entropy.value),
         f"nine people: {_plain(human.people_cross_entropy.value)}"),
        ("strict majority", percent(human.strict.value), f"of {human.strict_count:,} pictures"),
        ("untied majority", percent(human.untied.value), f"of {human.untied_count:,} pictures"),
    ]  # fmt: skip
    key = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{value}<small>{escape(note)}</small></dd></div>"
        for name, value, note in figures
    )
    panels = [(f"most of {size} people" if size > 1 else "one person", human.panels[size]) for size in PANELS]
    rows = [("the model", human.model), *panels, ("whoever knows all votes", human.ceiling)]
    cells = "".join(
        f"<tr><th>{escape(name)}</th><td>{percent(e.value)}<small>{interval(e)}</small></td></tr>" for name, e in rows
    )
    repeats = ", without those that repeat in training" if human.without_repeats else ""
    return (
        f'<dl class="key">{key}</dl><section><h2>Against people</h2><p>How often one further person says the same, on '
        f"{human.count:,} pictures with votes{repeats}.</p>"
        f"<table class='narrow'><tbody>{cells}</tbody></table></section>"
    )


def _key_figures(scores: Scores) -> str:
    figures = [
        ("accuracy", percent(scores.accuracy.value), interval(scores.accuracy)),
        ("weighted recall", percent(scores.weighted_recall.value), interval(scores.weighted_recall)),
        ("mean F1", percent(scores.macro_f1.value), interval(scores.macro_f1)),
        ("Cohen's kappa", _plain(scores.cohen_kappa.value), "agreement beyond chance"),
        ("calibration error", percent(scores.calibration_error), "confidence against accuracy"),
        ("log loss", _plain(scores.log_loss), f"Brier {_plain(scores.brier)}"),
    ]
    return "".join(
        f"<div><dt>{escape(name)}</dt><dd>{value}<small>{escape(note)}</small></dd></div>"
        for name, value, note in figures
    )


def _confusion(scores: Scores) -> str:
    names = [escape(c.name) for c in scores.classes]
    lost = bool(scores.missed.any())
    heads = "".join(f'<th scope="col"><span>{name}</span></th>' for name in [*names, *(["no face"] * lost)])
    rows: list[str] = []
    for k, c in enumerate(scores.classes):
        counts = [*scores.confusion[k].tolist(), *([int(scores.missed[k])] * lost)]
        cells = "".join(_cell(count, c.support, column == k) for column, count in enumerate(counts))
        rows.append(f'<tr><th scope="row">{names[k]}</th>{cells}</tr>')
    kind = "heat many" if len(scores.classes) > MANY else "heat"
    return f'<table class="{kind}"><thead><tr><td></td>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _cell(count: int, support: int, right: bool) -> str:
    share = count / support if support else 0.0
    background, ink = charts.shade(share)
    kind = ' class="right"' if right else ""
    style = f"background:{background};color:{ink}"
    return f'<td{kind} style="{style}">{count}<small>{share:.0%}</small></td>'


def _table(scores: Scores) -> str:
    rows: list[str] = []
    for c in scores.classes:
        cells = "".join(
            f"<td>{percent(e.value)}<small>{interval(e)}</small></td>" for e in (c.precision, c.recall, c.f1)
        )
        rows.append(
            f'<tr><th scope="row">{escape(c.name)}</th>{cells}<td>{_plain(c.roc_auc)}</td><td>{c.support}</td></tr>'
        )
    heads = "".join(
        f'<th scope="col">{name}</th>' for name in ("class", "precision", "recall", "F1", "ROC-AUC", "samples")
    )
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _face(evaluation: Evaluation, position: int) -> str:
    row = evaluation.probabilities[position]
    names = evaluation.match.classes
    best, label = names[int(row.argmax())], evaluation.samples[position].label
    right = best == label
    note = "" if right else f"<small>is {escape(label)}</small>"
    return (
        f'<figure class="{"hit" if right else "miss"}"><img src="{faces.thumbnail(evaluation, position)}" width="64" '
        f'height="64" alt="face labeled {escape(label)}"><figcaption>{"" if right else "✗ "}{escape(best)}'
        f"<br>{row.max():.0%}{note}</figcaption></figure>"
    )


def _mistakes(evaluation: Evaluation) -> str:
    sections = [
        f"<h3>{escape(truth)} taken for {escape(predicted)} <small>{counted(count, 'time')}</small></h3>"
        f'<div class="faces">{"".join(_face(evaluation, i) for i in positions)}</div>'
        for truth, predicted, count, positions in faces.confident_mistakes(evaluation)
    ]
    return "".join(sections) or "<p>No mistakes.</p>"


def _slices(evaluation: Evaluation) -> str:
    if not evaluation.slices:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{escape(part.value or "(empty)")}</th>'
        f"<td>{percent(part.scores.accuracy.value)}<small>{interval(part.scores.accuracy)}</small></td>"
        f"<td>{percent(part.scores.macro_recall.value)}</td><td>{part.scores.samples}</td></tr>"
        for part in evaluation.slices
    )
    gap = gap_sentence(evaluation)
    note = f"<p>{escape(gap[0].upper() + gap[1:])}.</p>" if gap else ""
    return (
        f"<section><h2>By {escape(evaluation.by)}</h2>{note}<div class='scroll'><table><thead><tr><th>value</th>"
        f"<th>accuracy</th><th>mean recall</th><th>samples</th></tr></thead><tbody>{rows}</tbody></table></div>"
        "</section>"
    )


def _corrupted(evaluation: Evaluation) -> str:
    if evaluation.corrupted is None:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{escape(kind)}</th>' + "".join(f"<td>{value:.1%}</td>" for value in values) + "</tr>"
        for kind, values in evaluation.corrupted.accuracies.items()
    )
    heads = "".join(f"<th>{strength}</th>" for strength in range(1, 6))
    return (
        "<section><h2>Under damage</h2><p>Accuracy at five strengths; mean corruption error "
        f"{evaluation.corrupted.mean_error:.2%}.</p><div class='scroll'><table><thead><tr><th>damage</th>{heads}</tr>"
        f"</thead><tbody>{rows}</tbody></table></div></section>"
    )


def _plain(value: float) -> str:
    return "undefined" if math.isnan(value) else f"{value:.3f}"
