"""`mien predict --engine`: one source into shards of rows. The command line's side of `mien.distributed`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import typer

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


def refuse_for_engine(options: Mapping[str, object]) -> None:
    """Refuse options that a run in shards does not obey.

    Args:
        options: names, and what was given; what is false was not given.
    """
    if not (given := [name for name, value in options.items() if value]):
        return
    instead = "".join(f"; {name}: {INSTEAD[name]}" for name in given if name in INSTEAD)
    raise typer.BadParameter(f"--engine writes shards of rows, and takes no {', '.join(given)}{instead}")


def predict_shards(
    sources: list[str],
    out: str | None,
    job: Job,
    engine: EngineName,
    column: str | None,
    address: str | None,
    workers: int,
) -> None:
    """Score every picture of one source, and say how it went; see `mien.distributed.score`."""
    from mien.distributed import LocalEngine, RayEngine, score

    if out is None:
        raise typer.BadParameter("--engine writes a file a shard; name a folder or an s3:// address with --out")
    if len(sources) != 1:
        raise typer.BadParameter(f"--engine reads one source, found {len(sources)}; name many files in a table of keys")
    if address and engine != "ray":
        raise typer.BadParameter(f"--ray-address belongs to --engine ray, found --engine {engine}")
    chosen = RayEngine(address, workers) if engine == "ray" else LocalEngine(workers)
    with ProgressBar() as bar:
        totals = score(sources[0], out, job, engine=chosen, column=column, progress=bar, tell=tell)
    failed = f", {totals.failed} failed" if totals.failed else ""
    resumed = f" ({totals.resumed} shards were there before)" if totals.resumed else ""
    say(f"{totals.pictures} pictures, {totals.faces} faces{failed}; {totals.shards} shards{resumed} in {out}", err=True)
    if totals.failed:
        raise typer.Exit(1 if totals.pictures else 2)
