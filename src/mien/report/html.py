"""What every HTML page of mien shares: one file that loads nothing, one style."""

from __future__ import annotations

from html import escape
from importlib import resources
from string import Template

from mien._version import __version__


def to_page(title: str, body: str) -> str:
    """A whole page around `body` (HTML); `title` is text."""
    shell = Template(_read("page.html"))
    return shell.substitute(title=escape(title), style=_read("style.css"), body=body, version=__version__)


def fill(name: str, **parts: str) -> str:
    """The template file `name` of this package with its parts (HTML) filled in."""
    return Template(_read(name)).substitute(parts)


def _read(name: str) -> str:
    return (resources.files("mien.report") / name).read_text(encoding="utf-8")
