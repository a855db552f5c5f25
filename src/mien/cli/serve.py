"""`mien serve`: the page and the HTTP interface."""

from __future__ import annotations

import gc
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.option_groups import AnswerOptions, DetectorOptions, Without, with_groups
from mien.cli.options import DeviceOption, MaxPixelsOption, UnsealedOption
from mien.cli.output import say
from mien.errors import ServeError

if TYPE_CHECKING:
    from mien.serve.service import Service

EXAMPLES = """Examples:

mien serve

mien serve --model faces@production --admin 127.0.0.1:8001

mien serve --host 0.0.0.0 --token-file token.txt --allow-host faces.example.org"""


@dataclass(frozen=True)
class ListenOptions:
    """Where the server listens, and to whom."""

    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 8000
    admin: Annotated[str, typer.Option(help="Where the admin routes listen: HOST:PORT or unix:PATH.")] = ""
    token_file: Annotated[
        Path | None, typer.Option(help="File with the token that requests must carry; needed on public addresses.")
    ] = None
    open_: Annotated[bool, typer.Option("--open", help="Listen on a public address without a token.")] = False
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A name of this server, as in a request's Host; may be given again.")
    ] = None
    allow_origin: Annotated[
        list[str] | None, typer.Option(help="Another origin whose pages may call; may be given again.")
    ] = None


@dataclass(frozen=True)
class LoadOptions:
    """How much work the server takes at once."""

    workers: Annotated[int, typer.Option(help="Threads that read pictures; 0: one a core.", min=0)] = 0
    queue: Annotated[int, typer.Option(help="Pictures that may wait; 0: 8 for each worker.", min=0)] = 0
    timeout: Annotated[float, typer.Option(help="Answer 504 after this many seconds.", min=0.1)] = 10.0
    max_body: Annotated[float, typer.Option(help="Largest body, MiB.", min=0.01)] = 32.0
    max_pixels: MaxPixelsOption = 50.0


@dataclass(frozen=True)
class RegistryOptions:
    """Where the models come from, and how they are exchanged."""

    registry: Annotated[str, typer.Option(help="Folder or postgresql:// address; default: $MIEN_REGISTRY.")] = ""
    files: Annotated[str, typer.Option(help="Folder of the bundles; default: $MIEN_REGISTRY_FILES.")] = ""
    poll: Annotated[float, typer.Option(help="Seconds between two looks at the registry.", min=0.1)] = 2.0
    drain: Annotated[
        float, typer.Option(help="After SIGTERM: seconds in which `ready` answers 503, before the server ends.", min=0)
    ] = 3.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXAMPLES)(with_groups(serve))


def serve(
    *,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", help="Bundled name, .onnx file, NAME@production or NAME@3; may be given again."),
    ] = None,
    unsealed: UnsealedOption = False,
    answers: AnswerOptions,
    listening: ListenOptions,
    load: LoadOptions,
    detectors: Annotated[DetectorOptions, Without("detector_model")],
    device: DeviceOption = "auto",
    source: RegistryOptions,
) -> None:
    """Serve the page and the HTTP interface. Without options: the bundled model, for this machine alone.

    SIGHUP looks again at files and registry; SIGTERM finishes what is in flight, then leaves.

    Exit code: 0 stopped, 2 it could not start.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    logging.getLogger("mien.serve").setLevel(logging.INFO)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    try:
        from mien.serve.options import ServeOptions
        from mien.serve.server import serve as run

        options = ServeOptions(
            models=tuple(model or ["default"]),
            answer=answers.answer,
            prior=answers.prior,
            prior_strength=answers.prior_strength,
            host=listening.host,
            port=listening.port,
            admin=listening.admin,
            token_file=listening.token_file,
            open=listening.open_,
            hosts=tuple(listening.allow_host or ()),
            origins=tuple(listening.allow_origin or ()),
            workers=load.workers,
            queue=load.queue,
            timeout_s=load.timeout,
            max_body=round(load.max_body * 2**20),
            max_pixels=round(load.max_pixels * 1e6),
            detector=detectors.detector or "",
            min_face=detectors.min_face,
            min_score=detectors.min_score,
            turned=detectors.turned,
            device=device,
            unsealed=unsealed,
            registry=source.registry,
            files=source.files,
            poll_s=source.poll,
            drain_s=source.drain,
        )
        run(options, _announce)
    except ModuleNotFoundError as error:  # some parts of the extra are imported while the models load
        raise ServeError(
            f"the server needs {error.name}, which is not installed; run: pip install 'mien[serve]'"
        ) from None


def _announce(service: Service, url: str) -> None:
    gc.freeze()  # what is there now stays; looking at all of it again would stop every thread for 20 to 30 ms
    names = ", ".join(f"{slot.name} version {slot.production.version}" for slot in service.slots.values())
    say(f"mien serves {names} at {url} (Ctrl-C stops)", err=True)
