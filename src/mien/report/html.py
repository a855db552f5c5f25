"""What every HTML page of mien shares: templates that escape text, and one file that loads nothing, in one style."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib import resources
from typing import Generic, TypeVar

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mien._version import __version__
from mien.report.comparison_text import signed
from mien.report.evaluation_text import counted, interval, percent

T = TypeVar("T")

MINUS = "\N{MINUS SIGN}"

KeyFigures = Sequence[tuple[str, str, str]]
"""(name, value, note) of the large numbers at the top of a page; the macro `key_figures` shows them."""


@dataclass(frozen=True)
class Section(Generic[T]):
    """A part of a page about a `T`: a template, and what fills it.

    Attributes:
        template: a file below `templates/`.
        values: the template's variables, or None where a page has no such section.
    """

    template: str
    values: Callable[[T], Mapping[str, object] | None]


def fill_sections(sections: Sequence[Section[T]], subject: T) -> Markup:
    """The sections of a page, one after the other."""
    filled = ((section, section.values(subject)) for section in sections)
    return Markup("\n").join(fill(section.template, **values) for section, values in filled if values is not None)


def to_page(title: str, body: Markup) -> str:
    """A whole page around `body`; `title` is text."""
    return str(fill("page.html", title=title, style=read_part("style.css"), body=body, version=__version__))


def fill(name: str, **parts: object) -> Markup:
    """The file `name` of `templates/` with its parts filled in: text is escaped, `Markup` stands as it is."""
    return Markup(_templates().get_template(name).render(parts))


def read_part(name: str) -> Markup:
    """A style or script of this package, to stand in a page as it is."""
    return Markup((resources.files("mien.report") / name).read_text(encoding="utf-8"))


def decimal(value: float) -> str:
    """Three places, or `undefined`."""
    return "undefined" if math.isnan(value) else f"{value:.3f}"


def typeset(words: str) -> str:
    """`words` with minus signs for the hyphens before numbers and between A and B."""
    return re.sub(r"(?<![\w.])-(?=\d)", MINUS, words).replace("B - A", f"B {MINUS} A")


def breakable(path: str) -> Markup:
    """A path that may be broken after a slash, an underscore or a hyphen, and nowhere within a name."""
    return Markup(escape(re.sub(r"([/_-])", r"\1\0", path)).replace("\0", "<wbr>"))


FILTERS: dict[str, Callable[..., str]] = {
    "breakable": breakable,
    "counted": counted,
    "decimal": decimal,
    "interval": interval,
    "percent": percent,
    "signed": signed,
    "thousands": "{:,}".format,
    "typeset": typeset,
}
"""What templates may write behind a `|`."""


@cache
def _templates() -> Environment:
    templates = Environment(
        loader=PackageLoader("mien.report"), autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    templates.filters.update(FILTERS)
    return templates
