"""Options that belong together, as one parameter of a command: `predict(sources, *, answers: AnswerOptions, ...)`.

A group is a frozen dataclass whose fields are annotated like a command's parameters. `with_groups` turns a function
that takes groups into one that takes their fields, which is what typer reads.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints

import typer

from mien.cli.options import (
    AnswerOption,
    DetectorModelOption,
    DetectorOption,
    MaxBytesOption,
    MaxPixelsOption,
    MinFaceOption,
    MinScoreOption,
    PriorOption,
    PriorStrengthOption,
    TruncatedOption,
    TurnedOption,
)

if TYPE_CHECKING:
    from mien.detect import Detector
    from mien.media.limits import Limits
    from mien.model.prior import Prior

MEGAPIXELS, MEGABYTES = 100.0, 500.0
"""The limits unless told."""


@dataclass(frozen=True)
class Without:
    """Options of a group that a command does not take: `Annotated[LimitOptions, Without("truncated")]`."""

    name: str


@dataclass(frozen=True)
class AnswerOptions:
    """Which of a model's answers to take, and which mix of classes to expect."""

    answer: AnswerOption = None
    prior: PriorOption = "training"
    prior_strength: PriorStrengthOption = 1.0

    def expected_mix(self) -> Prior:
        """The prior that was asked for.

        Raises:
            MienError: it cannot be read.
        """
        from mien.model.prior import as_prior

        return as_prior(self.prior, self.prior_strength)


@dataclass(frozen=True)
class DetectorOptions:
    """What finds faces, and which of them."""

    detector: DetectorOption = None
    detector_model: DetectorModelOption = None
    min_face: MinFaceOption = None
    min_score: MinScoreOption = None
    turned: TurnedOption = False

    @property
    def name(self) -> str:
        """The detector's name."""
        from mien.detect import default_detector_name

        return self.detector or default_detector_name()

    def make(self, device: str) -> Detector:
        """The detector on a device.

        Raises:
            DetectorError: it cannot be made.
        """
        from mien.detect import make_detector

        return make_detector(
            self.name, min_face=self.min_face, min_score=self.min_score, model=self.detector_model,
            turned=self.turned, device=device,
        )  # fmt: skip


@dataclass(frozen=True)
class LimitOptions:
    """Which pictures are too large, in megapixels and megabytes."""

    max_pixels: MaxPixelsOption = MEGAPIXELS
    max_bytes: MaxBytesOption = MEGABYTES
    truncated: TruncatedOption = False

    def limits(self) -> Limits:
        """The limits in pixels and bytes."""
        from mien.media.limits import Limits

        return Limits(round(self.max_pixels * 1e6), round(self.max_bytes * 1e6), self.truncated)


@dataclass(frozen=True)
class ReportOptions:
    """Where the results of a measurement are written."""

    as_json: Annotated[Path | None, typer.Option("--json", help="Write every number to this file.")] = None
    html: Annotated[Path | None, typer.Option("--html", help="Write one self-contained page to this file.")] = None
    figures: Annotated[
        Path | None, typer.Option("--figures", help="Write each chart as SVG and PDF into this folder.")
    ] = None

    def write(self, json_text: Callable[[], str], html_text: Callable[[], str]) -> None:
        """Write the files that were asked for; charts are the command's own.

        Args:
            json_text: makes the text of --json.
            html_text: makes the text of --html.
        """
        from mien.cli.output import write_file

        for path, make_text in ((self.as_json, json_text), (self.html, html_text)):
            if path:
                write_file(path, make_text())


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose groups of options are spread out into single parameters, in their order.

    Args:
        command: takes groups by keyword; `Annotated[Group, Without("field")]` leaves out a field of one.
    """
    hints = get_type_hints(command, include_extras=True)
    parameters: list[inspect.Parameter] = []
    groups: dict[str, tuple[type, list[str]]] = {}
    for parameter in inspect.signature(command).parameters.values():
        hint = hints[parameter.name]
        kind, *notes = get_args(hint) if get_origin(hint) is Annotated else (hint,)
        if is_dataclass(kind) and isinstance(kind, type):
            spread = _group_parameters(kind, {note.name for note in notes if isinstance(note, Without)})
            groups[parameter.name] = kind, [p.name for p in spread]
            parameters += spread
        else:
            parameters.append(parameter.replace(annotation=hint, kind=inspect.Parameter.KEYWORD_ONLY))

    @wraps(command)
    def spread_command(**given: object) -> None:
        command(**_gathered(given, groups))

    # What typer looks at; `Any`, since typing knows no type of a signature that is made at run time.
    seen: Any = spread_command
    seen.__signature__ = inspect.Signature(parameters)
    seen.__annotations__ = {p.name: p.annotation for p in parameters}
    return spread_command


def _group_parameters(group: type, left_out: set[str]) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(group)
        if field.name not in left_out
    ]


def _gathered(given: Mapping[str, object], groups: Mapping[str, tuple[type, list[str]]]) -> dict[str, object]:
    spread = {name for _, names in groups.values() for name in names}
    alone = {name: value for name, value in given.items() if name not in spread}
    return alone | {name: group(**{field: given[field] for field in own}) for name, (group, own) in groups.items()}
