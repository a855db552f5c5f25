"""Options that several commands take, and how they are read."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

ModelOption = Annotated[str, typer.Option("--model", help="A bundled model's name, or a .onnx file.")]
DetectorOption = Annotated[str | None, typer.Option("--detector", help="libface (default), haar, yunet or whole.")]
DetectorModelOption = Annotated[
    Path | None, typer.Option("--detector-model", help="The detector's own file: yunet's, or a cascade.")
]
MinFaceOption = Annotated[
    float | None,
    typer.Option(
        "--min-face", help="Smallest face wanted, in pixels; default: 2 % of the longer side, at least 20.", min=1
    ),
]
MinScoreOption = Annotated[
    float | None, typer.Option("--min-score", help="Least confidence of the detector, 0-1.", min=0, max=1)
]
ThreadsOption = Annotated[int, typer.Option("--threads", help="CPU threads; 0 takes every core.", min=0)]

TIME = "TIME"


def seconds(text: str) -> float:
    """A time as people write it, 90, 90s, 1:30 or 1:02:03.5, in seconds."""
    value = 0.0
    try:
        for part in text.removesuffix("s").split(":"):
            value = value * 60 + float(part)
        if not math.isfinite(value):
            raise ValueError
    except ValueError:
        raise typer.BadParameter(f"expected a time such as 90, 0.5s or 1:30, found {text!r}") from None
    return value
