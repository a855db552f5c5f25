"""Options that say what PyTorch weights (`.pth`) are: their network, classes and preprocessing."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Protocol

import typer

from mien.cli.plugins import add_plugins
from mien.errors import BundleError

PANEL = "For PyTorch weights (.pth)"


class Color(str, Enum):
    """What a network sees."""

    rgb = "rgb"
    bgr = "bgr"
    gray = "gray"


NetworkOption = Annotated[
    str,
    typer.Option("--network", help="The course's network: si100b, in the sizes of the weights.", rich_help_panel=PANEL),
]
ModuleOption = Annotated[
    str,
    typer.Option(
        "--module",
        help="The code that makes the network: FILE.py:NAME or package.module:NAME. mien imports it, which runs it.",
        rich_help_panel=PANEL,
    ),
]
ClassesOption = Annotated[
    str,
    typer.Option(
        "--classes",
        help="The classes in the order of the outputs, with commas between; default: the data's, sorted.",
        rich_help_panel=PANEL,
    ),
]
SizeOption = Annotated[
    str,
    typer.Option(
        "--size",
        help="Side of the input in pixels, or HEIGHTxWIDTH; default: the code's, or 48.",
        rich_help_panel=PANEL,
    ),
]
ColorOption = Annotated[
    Color | None,
    typer.Option(
        "--color", help="Colors that the network sees; default: told from its first layer.", rich_help_panel=PANEL
    ),
]
MeanOption = Annotated[
    str,
    typer.Option(
        "--mean",
        help="Subtracted from pixels in 0-1: one number, or one a channel with commas; default: the code's, or 0.5.",
        rich_help_panel=PANEL,
    ),
]
StdOption = Annotated[
    str,
    typer.Option(
        "--std", help="Divides after that, given like --mean; default: the code's, or 0.5.", rich_help_panel=PANEL
    ),
]


@dataclass(frozen=True)
class WeightOptions:
    """The options, as they were given: a group, see `mien.cli.option_groups`."""

    network: NetworkOption = ""
    module: ModuleOption = ""
    classes: ClassesOption = ""
    size: SizeOption = ""
    color: ColorOption = None
    mean: MeanOption = ""
    std: StdOption = ""


class Converter(Protocol):
    """Writes a bundle of PyTorch weights to `out`. `data_classes` are those of a labeled folder, if there is one."""

    def __call__(self, weights: Path, out: Path, options: WeightOptions, data_classes: tuple[str, ...]) -> None: ...


_converters: list[Converter] = []


def add_converter(converter: Converter) -> None:
    """Training calls this: the runtime alone cannot open PyTorch's weights."""
    _converters.append(converter)


@contextmanager
def bundle_of(model: str, options: WeightOptions, data_classes: tuple[str, ...] = ()) -> Generator[str]:
    """`model` itself, or, of PyTorch weights, a bundle made of them that lives as long as the context.

    Raises:
        BundleError: weights, where training is not installed.
        MienError: see `mien export`.
    """
    if Path(model).suffix.lower() not in (".pth", ".pt"):
        if any(astuple(options)):
            raise typer.BadParameter(
                "--network, --module, --classes, --size, --color, --mean and --std go with PyTorch weights (.pth); a "
                "bundle knows them"
            )
        yield model
        return
    if not _converters:
        add_plugins(typer.Typer())  # a command of ours begins without them
    if not _converters:
        raise BundleError(f"{model}: PyTorch weights need training; run: pip install 'mien[train]'")
    import tempfile  # late, as all that a start with a bundle does without

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / f"{Path(model).stem}.onnx"
        _converters[0](Path(model), out, options, data_classes)
        yield str(out)


def names(text: str) -> tuple[str, ...]:
    """`happy,sad` -> its parts; none of an empty text."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def numbers(text: str, option: str) -> tuple[float, ...] | None:
    """`0.5` or `0.4,0.5,0.6` -> its numbers; None of an empty text."""
    try:
        return tuple(float(part) for part in text.split(",")) if text else None
    except ValueError:
        raise typer.BadParameter(f"expected numbers with commas between, found {text!r}", param_hint=option) from None


def height_width(text: str) -> tuple[int, int] | None:
    """`48` or `48x64` -> height and width in pixels; None of an empty text."""
    if not text:
        return None
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.strip().isdecimal() for part in parts):
        raise typer.BadParameter(f"expected 48 or HEIGHTxWIDTH, found {text!r}", param_hint="--size")
    return int(parts[0]), int(parts[-1])
