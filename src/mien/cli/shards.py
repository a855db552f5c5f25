"""`mien predict --engine`: one source into shards of rows. The command line's side of `mien.distributed`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mien.cli.options import MOST_THREADS
from mien.cli.output import say, tell
from mien.cli.progress import ProgressBar

if TYPE_CHECKING:
    from mien.batch import Job

EngineName = Literal["local", "ray"]

INSTEAD = {
    "--threads": "each worker uses one thread; give --workers",
    "--overwrite": "choose another folder or prefix for --out, or empty this one",
}
"""What to do where an option is refused."""


@dataclass(frozen=True)
class ShardOptions:
    """How many processes read, and whether they write shards."""

    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes that read pictures; default: 1, and with --engine one a core.", min=1, max=MOST_THREADS
        ),
    ] = None
    engine: Annotated[
        EngineName | None,
        typer.Option(help="Read one folder, s3:// address or table of keys in shards; give it again to go on."),
    ] = None
    column: Annotated[str | None, typer.Option(help="With --engine and a table: the column that holds the keys.")] = (
        None
    )
    ray_address: Annotated[
        str | None,
        typer.Option(help="With --engine ray: the address of a running cluster; without it, Ray starts here."),
    ] = None

    def check(self, refused: Mapping[str, object]) -> None:
        """Refuse options that do not go together.

        Args:
            refused: options that a run in shards does not obey, and what was given; what is false was not given.
        """
        if self.engine:
            _refuse_for_engine(refused)
        elif self.column or self.ray_address:
            raise typer.BadParameter("--column and --ray-address belong to --engine")


def _refuse_for_engine(options: Mapping[str, object]) -> None:
    if not (given := [name for name, value in options.items() if value]):
        return
    instead = "".join(f"; {name}: {INSTEAD[name]}" for name in given if name in INSTEAD)
    raise typer.BadParameter(f"--engine writes shards of rows, and takes no {', '.join(given)}{instead}")


def predict_shards(sources: list[str], out: str | None, job: Job, shards: ShardOptions) -> None:
    """Score every picture of one source, and say how it went; see `mien.distributed.read_shards`."""
    from mien.distributed import LocalEngine, RayEngine, read_shards

    if out is None:
        raise typer.BadParameter("--engine writes a file a shard; name a folder or an s3:// address with --out")
    if len(sources) != 1:
        raise typer.BadParameter(f"--engine reads one source, found {len(sources)}; name many files in a table of keys")
    if shards.ray_address and shards.engine != "ray":
        raise typer.BadParameter(f"--ray-address belongs to --engine ray, found --engine {shards.engine}")
    workers = shards.workers or 0
    engine = RayEngine(shards.ray_address, workers) if shards.engine == "ray" else LocalEngine(workers)
    with ProgressBar() as bar:
        totals = read_shards(sources[0], out, job, engine=engine, column=shards.column, progress=bar, tell=tell)
    failed = f", {totals.failed} failed" if totals.failed else ""
    resumed = f" ({totals.resumed} shards were there before)" if totals.resumed else ""
    say(f"{totals.pictures} pictures, {totals.faces} faces{failed}; {totals.shards} shards{resumed} in {out}", err=True)
    if totals.failed:
        raise typer.Exit(1 if totals.pictures else 2)
