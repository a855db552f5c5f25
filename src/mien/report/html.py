"""What every HTML page of mien shares: templates that escape text, and one file that loads nothing, in one style."""

from __future__ import annotations

from functools import cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mien._version import __version__


def to_page(title: str, body: Markup) -> str:
    """A whole page around `body`; `title` is text."""
    return str(fill("page.html", title=title, style=read_part("style.css"), body=body, version=__version__))


def fill(name: str, **parts: object) -> Markup:
    """The template file `name` of this package with its parts filled in: text is escaped, `Markup` stands as it is."""
    return Markup(_templates().get_template(name).render(parts))


def read_part(name: str) -> Markup:
    """A style or script of this package, to stand in a page as it is."""
    return Markup((resources.files("mien.report") / name).read_text(encoding="utf-8"))


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("mien", "report"), autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
