"""Options that several commands take, and how they are read."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.output import tell
from mien.errors import DatasetError, RegistryError

if TYPE_CHECKING:
    from mien.model.bundle import Bundle
    from mien.registry import Registry


def registered(text: str | None) -> str | None:
    """The file of a version named as `NAME@3` or `NAME@production`; any other text as it is.

    Give it as `callback=` to every option or argument that names a model.

    Raises:
        RegistryError: there is no such version, or its file is gone or altered.
    """
    if not text or "@" not in text or Path(text).exists():
        return text
    # Late: who names a file or a bundled model needs no database.
    from mien.registry.reference import is_reference, parse_reference

    if not is_reference(text):
        return text
    with opened_registry() as registry:
        version = registry.version(parse_reference(text))
        return str(registry.bundle(version).path)


def registered_names(names: list[str] | None) -> list[str] | None:
    """Like `registered`, for an argument that may be given again."""
    return [registered(name) or name for name in names] if names is not None else None


def registered_path(path: Path | None) -> Path | None:
    """Like `registered`, for an option that takes runs and weights beside models."""
    return path and Path(registered(str(path)) or path)


def registered_paths(paths: list[Path] | None) -> list[Path] | None:
    """Like `registered_path`, for an option that may be given again."""
    return [registered_path(path) or path for path in paths] if paths is not None else None


def known_device(name: str) -> str:
    """The name of a device, if it is one. Give it as `callback=`; whether it can be used turns out later.

    Raises:
        DeviceError: there is no such device.
    """
    from mien.model.device import parse_device

    parse_device(name)
    return name


def labeled_data(path: Path | None) -> Path | None:
    """A data set that is there. Give it as `callback=` to options that name one: a wrong path is told at once.

    Raises:
        DatasetError: nothing is there.
    """
    if path is not None and not path.exists():
        raise DatasetError(f"{path}: expected a folder of labeled pictures, or a CSV of their paths; found nothing")
    return path


@contextmanager
def opened_registry(location: str = "", files: str = "") -> Generator[Registry]:
    """The registry, closed at the end.

    Raises:
        RegistryError: it cannot be opened, or its package is not installed.
    """
    try:
        from mien.registry import open_registry
    except ModuleNotFoundError as error:
        raise RegistryError(
            f"the registry needs {error.name}, which is not installed; run: pip install 'mien[registry]'"
        ) from None
    registry = open_registry(location, files)
    try:
        yield registry
    finally:
        registry.close()


MODEL_HELP = "A bundled model's name, a .onnx file, or NAME@3 or NAME@production of the registry."
ModelOption = Annotated[str, typer.Option("--model", help=MODEL_HELP, callback=registered)]
AnswerOption = Annotated[
    str | None,
    typer.Option("--answer", help="people (how people would vote), fer2013 (that data set's label); default: people."),
]
PriorOption = Annotated[
    str,
    typer.Option(
        "--prior",
        help="Mix of classes to expect, where it is known: training, even, or a JSON or CSV file of shares.",
    ),
]
PriorStrengthOption = Annotated[
    float,
    typer.Option("--prior-strength", help="How far to go to that mix from the training's, 0-1.", min=0, max=1),
]
DetectorOption = Annotated[str | None, typer.Option("--detector", help="yunet (default), haar, opencv-yunet or whole.")]
DetectorModelOption = Annotated[
    Path | None,
    typer.Option("--detector-model", help="The detector's own file: a model for opencv-yunet, or a cascade for haar."),
]
MinFaceOption = Annotated[
    float | None,
    typer.Option(
        "--min-face",
        help="Smallest face wanted, in pixels; default: 2 % of the longer side, at least 20.",
        min=1,
    ),
]
MinScoreOption = Annotated[
    float | None,
    typer.Option(
        "--min-score",
        help="Lowest confidence of the detector, 0-1; lower finds more faces and more false positives.",
        min=0,
        max=1,
    ),
]
TurnedOption = Annotated[
    bool,
    typer.Option("--turned", help="Find and read faces turned by 90, 180 and 270 degrees, too; four times the work."),
]
FullSizeOption = Annotated[
    bool,
    typer.Option(
        "--full-size",
        help="Decode every JPEG at its full size, even where faces are looked for at a half, quarter or eighth of it.",
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        help="What computes: auto, cpu, cuda, coreml, directml or openvino; cuda:1 is the second card.",
        callback=known_device,
    ),
]
MOST_THREADS = 4096
"""More are no wish, but a slip."""

LONGEST_S = 1e8
"""Three years: later times are no wish, and overflow in libraries."""

ThreadsOption = Annotated[
    int, typer.Option("--threads", help="CPU threads; 0 takes every core.", min=0, max=MOST_THREADS)
]

MaxPixelsOption = Annotated[
    float, typer.Option("--max-pixels", help="Largest picture or frame, megapixels.", min=0.000001, max=178)
]
MaxBytesOption = Annotated[float, typer.Option("--max-bytes", help="Largest picture file, megabytes.", min=0.000001)]
TruncatedOption = Annotated[
    bool,
    typer.Option("--truncated", help="Take what there is of truncated or damaged pictures; the column note says so."),
]
LabelMapOption = Annotated[
    str,
    typer.Option(
        "--label-map", help="Other names for the data's labels: happiness=happy,0=angry, or a JSON or CSV file of them."
    ),
]
LabeledDataArgument = Annotated[
    Path,
    typer.Argument(
        help="<split>/<class>/ or <class>/ folders, or a CSV: path,label[,split,...].", callback=labeled_data
    ),
]
SplitOption = Annotated[str, typer.Option("--split", help="train, validation or test.")]
ExcludeOption = Annotated[Path | None, typer.Option("--exclude", help="CSV with a column path: pictures to leave out.")]
ExcludeFromTrainingOption = Annotated[
    Path | None,
    typer.Option("--exclude", help="CSV with a column path: pictures to leave out, as `mien audit --fix` writes."),
]
PhotoDetectorOption = Annotated[
    str | None,
    typer.Option("--detector", help="The pictures are whole photos: find the face with yunet, haar or opencv-yunet."),
]
OverwriteOutOption = Annotated[bool, typer.Option("--overwrite", help="Replace --out if it exists.")]
BundleOutOption = Annotated[Path, typer.Option("--out", help="Bundle to write (.onnx).")]
UnsealedOption = Annotated[
    bool, typer.Option("--unsealed", help="Take a bundle that carries a manifest and has lost its seal.")
]


def open_bundle(model: str, unsealed: bool) -> Bundle:
    """A model, and a line on stderr if nothing shows whether it was altered.

    Raises:
        MienError: see `mien.model.bundle.load_bundle`.
    """
    from mien.model.bundle import load_bundle

    bundle = load_bundle(model, unsealed=unsealed)
    tell_seal(bundle, model)
    return bundle


def tell_seal(bundle: Bundle, model: str) -> None:
    """Say so on stderr if a bundle was taken without its seal."""
    if not bundle.vouched:
        tell(f"{model}: no seal, taken as it is (--unsealed): nothing shows whether it was altered")


TIME = "TIME"


def seconds(text: str) -> float:
    """A time as people write it, 90, 90s, 1:30 or 1:02:03.5, in seconds."""
    value = 0.0
    try:
        for part in text.removesuffix("s").split(":"):
            value = value * 60 + float(part)
        if not -LONGEST_S <= value <= LONGEST_S:  # not a number is neither
            raise ValueError
    except ValueError:
        raise typer.BadParameter(f"expected a time such as 90, 0.5s or 1:30, found {text!r}") from None
    return value
