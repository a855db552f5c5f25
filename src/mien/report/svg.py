"""What every chart is drawn with: SVG as text, in a view box 360 wide, so that text keeps its size from a phone up."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

WIDTH = 360
BLUE, VERMILION, INK, GRID = "#0072B2", "#D55E00", "#1a1a1a", "#d8d8d8"


def rect(x: float, y: float, width: float, height: float, fill: str) -> str:
    """A filled rectangle."""
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{fill}"/>'


def text(
    x: float, y: float, words: str, *, anchor: str = "start", size: int = 13, weight: str = "400", fill: str = INK,
    rotate: float = 0,
) -> str:  # fmt: skip
    """Words at a place, turned clockwise by `rotate` degrees; `words` is text, not markup."""
    turn = f' transform="rotate({rotate:g} {x:.1f} {y:.1f})"' if rotate else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" '
        f'fill="{fill}"{turn}>{escape(words)}</text>'
    )


def svg(height: float, name: str, parts: Sequence[str]) -> str:
    """A whole chart of `parts`; `name` is for those who do not see it."""
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(name)}">' + "".join(parts) + "</svg>"
    )
