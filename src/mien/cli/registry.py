"""`mien registry`: models, versions, aliases and their history."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.options import MODEL_HELP, opened_registry, registered
from mien.cli.output import say, say_json

if TYPE_CHECKING:
    from mien.registry import Event, Registry, Version

RegistryOption = Annotated[
    str,
    typer.Option(
        "--registry",
        help="Folder, or postgresql://USER@HOST/DATABASE; default: $MIEN_REGISTRY, else in mien's data folder.",
    ),
]
FilesOption = Annotated[
    str, typer.Option("--files", help="Folder of the bundles; default: $MIEN_REGISTRY_FILES, else in the registry's.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
AliasOption = Annotated[str, typer.Option("--alias", help="production, shadow, canary, or one of your own.")]
WhyOption = Annotated[str, typer.Option("--why", help="A sentence for the history.")]
VersionArgument = Annotated[str, typer.Argument(metavar="NAME@VERSION", help="NAME@3, or NAME@ALIAS.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The model's name.")]


def register(app: typer.Typer) -> None:
    """Add the command group."""
    group = typer.Typer(
        help="Keep versions of models, and a history of which one serves.",
        epilog="Example: mien registry add runs/new.onnx --name faces",
        no_args_is_help=True,
    )
    group.command(epilog="Example: mien registry add runs/new.onnx --name faces --note 'with more fear'")(add)
    group.command("list", epilog="Example: mien registry list")(list_)
    group.command(epilog="Example: mien registry show faces@production")(show)
    group.command(epilog=PROMOTE_EXAMPLES)(promote)
    group.command(epilog="Example: mien registry rollback faces --why 'too many false smiles'")(rollback)
    group.command(epilog="Example: mien registry history faces")(history)
    group.command(epilog="Example: mien registry get faces@production --out faces.onnx")(get)
    app.add_typer(group, name="registry")


PROMOTE_EXAMPLES = """Examples:

mien registry promote faces@3 --why "better on fear"

mien registry promote faces@3 --compare data/fer2013 --split test

mien registry promote faces@4 --alias canary --share 5"""


def add(
    bundle: Annotated[str, typer.Argument(help=f"What to add. {MODEL_HELP}", callback=registered)],
    name: Annotated[str, typer.Option(help="The model's name; default: that of its manifest.")] = "",
    note: Annotated[str, typer.Option(help="A sentence about this version.")] = "",
    location: RegistryOption = "",
    files: FilesOption = "",
    as_json: JsonOption = False,
) -> None:
    """Check a bundle and add it as the next version. The same file twice is one version.

    Exit code: 0 added or there already, 2 the bundle fails a check.
    """
    from mien.errors import RegistryError
    from mien.model.bundle import load_bundle
    from mien.model.verify_in_process import verify_apart
    from mien.registry.checks import require_seal

    loaded = load_bundle(bundle, unsealed=True)  # `require_seal` says why it is not taken
    require_seal(loaded)
    failed = [f"{check.name}: {check.detail}" for check in verify_apart(loaded) if check.passed is False]
    if failed:
        raise RegistryError(f"{loaded.path} is not added: {'; '.join(failed)}")
    with opened_registry(location, files) as registry:
        version, new = registry.add(loaded, name, note=note)
    if as_json:
        say_json({**asdict(version), "new": new})
    else:
        say(f"{version}  {version.sha256[:12]}" + ("" if new else "  (was there already)"))


def list_(location: RegistryOption = "", files: FilesOption = "", as_json: JsonOption = False) -> None:
    """List every version of every model, and the aliases that point to it."""
    with opened_registry(location, files) as registry:
        rows = [row for model in registry.models() for row in _listed(registry, model)]
        where = registry.location
    if as_json:
        say_json([asdict(version) | {"aliases": names} for version, names in rows])
        return
    if not rows:
        say(f"no models in {where}; add one with: mien registry add BUNDLE", err=True)
        return
    wide = max(5, *(len(version.model) for version, _ in rows))
    say(f"{'model':{wide}}  version  aliases               added                sha256", bold=True)
    for version, names in rows:
        say(
            f"{version.model:{wide}}  {version.number:7}  {', '.join(names):20}  {version.created[:19]}  "
            f"{version.sha256[:12]}"
        )


def show(reference: VersionArgument, location: RegistryOption = "", files: FilesOption = "") -> None:
    """Print one version as JSON: hash, classes, metrics, aliases. NAME alone is NAME@production."""
    from mien.registry import parse_reference

    with opened_registry(location, files) as registry:
        version = registry.version(parse_reference(reference))
        known = registry.aliases(version.model).values()
        document = asdict(version) | {
            "aliases": [alias.name for alias in known if alias.version == version.number],
            "file": str(registry.path(version)),
        }
    say_json(document)


def promote(
    reference: VersionArgument,
    alias: AliasOption = "production",
    why: WhyOption = "",
    compare: Annotated[
        Path | None, typer.Option(help="Labeled pictures on which the version must not be worse than the present one.")
    ] = None,
    split: Annotated[str, typer.Option(help="Split of --compare: train, validation or test.")] = "validation",
    detector: Annotated[
        str | None,
        typer.Option(
            help="The pictures of --compare are whole photos: find the face with yunet, haar or opencv-yunet."
        ),
    ] = None,
    new_classes: Annotated[
        bool, typer.Option("--new-classes", help="Allow classes that differ from those served now.")
    ] = False,
    share: Annotated[
        float | None, typer.Option(help="Percent of the requests that a canary answers.", min=0, max=100)
    ] = None,
    location: RegistryOption = "",
    files: FilesOption = "",
    as_json: JsonOption = False,
) -> None:
    """Check a version, then point an alias at it. A running `mien serve` follows within seconds.

    Exit code: 0 promoted, 2 a check failed, or another process moved the alias meanwhile.
    """
    from mien.dataset import open_dataset
    from mien.detect import make_detector
    from mien.registry import parse_reference
    from mien.registry.checks import check_candidate, require
    from mien.registry.versions import CANARY, PRODUCTION

    if share is not None and alias != CANARY:
        raise typer.BadParameter("--share is the part of a canary; give it with --alias canary")
    with opened_registry(location, files) as registry:
        version = registry.version(parse_reference(reference))
        known = registry.aliases(version.model)
        expected = known[alias].version if alias in known else None
        # A shadow or canary is measured against what serves.
        serving = known.get(PRODUCTION)
        current = registry.version(parse_reference(f"{version.model}@{serving.version}")) if serving else None
        checks = check_candidate(
            registry.bundle(version),
            registry.bundle(current) if current and current.number != version.number else None,
            new_classes=new_classes,
            data=open_dataset(compare, split) if compare else None,
            detector=make_detector(detector) if detector else None,
        )
        part = (5.0 if share is None else share) / 100 if alias == CANARY else None
        held = require(checks, str(version))
        event = registry.promote(version, alias, expected=expected, why=why, checks=held, share=part)
    _print_event(event, as_json=as_json)


def rollback(
    name: NameArgument,
    alias: AliasOption = "production",
    to: Annotated[int | None, typer.Option(help="Go back to this version; default: the one before.", min=1)] = None,
    why: WhyOption = "",
    location: RegistryOption = "",
    files: FilesOption = "",
    as_json: JsonOption = False,
) -> None:
    """Point an alias back at the version before. A shadow or canary without one before ends.

    Exit code: 0 done, 2 there is no version to go back to.
    """
    with opened_registry(location, files) as registry:
        event = registry.rollback(name, alias, to=to, why=why)
    _print_event(event, as_json=as_json)


def history(
    name: NameArgument,
    limit: Annotated[int, typer.Option(help="Print only the newest so many events; 0: all.", min=0)] = 0,
    location: RegistryOption = "",
    files: FilesOption = "",
    as_json: JsonOption = False,
) -> None:
    """Print what happened to a model, the newest first: when, who, which alias, from, to, and why."""
    from mien.registry import parse_reference

    with opened_registry(location, files) as registry:
        events = registry.history(name, limit or None)
        if not events:
            registry.version(parse_reference(name))  # says which models there are
    if as_json:
        say_json([asdict(event) for event in events])
        return
    for event in events:
        say(f"{event.at[:19]}  {event.who:12}  {_sentence(event)}" + (f"  ({event.why})" if event.why else ""))


def get(
    reference: VersionArgument,
    out: Annotated[Path, typer.Option("--out", help="Bundle to write (.onnx).")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace --out if it exists.")] = False,
    location: RegistryOption = "",
    files: FilesOption = "",
) -> None:
    """Copy a version's bundle out of the registry, checked against its hash."""
    from mien.files import write_bytes
    from mien.output.files import check_bundle_path
    from mien.registry import parse_reference

    check_bundle_path(out, overwrite=overwrite)
    with opened_registry(location, files) as registry:
        version = registry.version(parse_reference(reference))
        data = registry.bundle(version).model
    write_bytes(out, data)
    say(f"{version} in {out}", err=True)


def _listed(registry: Registry, model: str) -> list[tuple[Version, list[str]]]:
    """Each version of a model, and the names of the aliases that point to it."""
    known = registry.aliases(model).values()
    return [(v, [alias.name for alias in known if alias.version == v.number]) for v in registry.versions(model)]


def _print_event(event: Event, *, as_json: bool) -> None:
    if as_json:
        say_json(asdict(event))
    else:
        say(_sentence(event))


def _sentence(event: Event) -> str:
    if event.kind == "add":
        return f"{event.model}@{event.to_version} added"
    before = "nothing" if event.from_version is None else event.from_version
    after = "nothing" if event.to_version is None else event.to_version
    return f"{event.kind}: {event.model}@{event.alias} from {before} to {after}"
