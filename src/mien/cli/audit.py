"""`mien audit`: what is wrong with a labeled data set -> a table, JSON, a page, a list of what to leave out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.option_groups import AnswerOptions, LimitOptions, Without, with_groups
from mien.cli.options import MODEL_HELP, MOST_THREADS, LabeledDataArgument, UnsealedOption, open_bundle, registered
from mien.cli.output import name_items, say_passed_over, say_text, write_file
from mien.cli.progress import ProgressBar
from mien.printable import escaped

if TYPE_CHECKING:
    from mien.audit import Audit

EXAMPLES = """Examples:

mien audit data/fer2013 --html audit.html --fix leave-out.csv

mien evaluate data/fer2013 --exclude leave-out.csv"""

FACE_SAMPLE = 2000
"""Pictures searched for a face unless all are asked for: a detector takes longer than all the rest."""


class Faces(str, Enum):
    """In how many pictures a face is looked for."""

    sample = "sample"
    all = "all"
    none = "none"


class LabelSplit(str, Enum):
    """A split whose labels are checked."""

    train = "train"
    validation = "validation"
    test = "test"


@dataclass(frozen=True)
class AuditFiles:
    """Where the findings are written."""

    as_json: Annotated[Path | None, typer.Option("--json", help="Write every finding to this file.")] = None
    html: Annotated[Path | None, typer.Option("--html", help="Write one self-contained page to this file.")] = None
    fix: Annotated[
        Path | None, typer.Option("--fix", help="Write a list of what to leave out to this CSV, for --exclude.")
    ] = None
    fix_labels: Annotated[
        bool, typer.Option("--fix-labels", help="With --fix: list pictures whose label may be wrong, too.")
    ] = False

    def report(self, found: Audit) -> None:
        """Print the findings, and write the files that were asked for."""
        from mien.audit import to_csv, to_leave_out
        from mien.report import audit_to_html, audit_to_json, audit_to_text

        say_text(audit_to_text(escaped(found)))
        for path, write in ((self.as_json, audit_to_json), (self.html, audit_to_html)):
            if path:
                write_file(path, write(found))
        if self.fix:
            write_file(self.fix, to_csv(to_leave_out(found, self.fix_labels)))


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXAMPLES)(with_groups(audit))


def audit(
    data: LabeledDataArgument,
    *,
    files: AuditFiles,
    faces: Annotated[
        Faces, typer.Option(help=f"Look for a face in {FACE_SAMPLE} pictures, evenly spread, in all, or in none.")
    ] = Faces.sample,
    detector: Annotated[str | None, typer.Option(help="yunet (default), haar or opencv-yunet.")] = None,
    labels: Annotated[bool, typer.Option(help="Look for labels that the model contradicts.")] = True,
    split_for_labels: Annotated[
        LabelSplit | None, typer.Option(help="Check the labels of this split; default: validation, else test.")
    ] = None,
    model: Annotated[
        str, typer.Option(help=f"The model to check labels with. {MODEL_HELP}", callback=registered)
    ] = "default",
    answers: AnswerOptions,
    threads: Annotated[
        int, typer.Option(help="CPU threads of the model; 0 takes every core.", min=0, max=MOST_THREADS)
    ] = 0,
    limits: Annotated[LimitOptions, Without("truncated")],
    unsealed: UnsealedOption = False,
) -> None:
    """Look for duplicates, leaks between splits, wrong labels, blank, faceless and unreadable pictures.

    Exit code: 0 done, whatever was found; 1 some pictures could not be read (each is named); 2 wrong use or unusable
    data.
    """
    from mien.audit import audit as look
    from mien.dataset import open_splits
    from mien.detect import default_detector_name, make_detector
    from mien.model.session import Session

    mix = answers.expected_mix()
    splits = open_splits(data)
    say_passed_over(splits)
    bundle = open_bundle(model, unsealed) if labels else None
    session = Session(bundle, threads, answer=answers.answer, prior=mix) if bundle else None
    with ProgressBar() as bar:
        found = look(
            splits,
            detector=None if faces is Faces.none else make_detector(detector or default_detector_name()),
            face_limit=FACE_SAMPLE if faces is Faces.sample else None,
            session=session,
            labels_in=split_for_labels.value if split_for_labels else "",
            limits=limits.limits(),
            progress=bar,
        )
    files.report(found)
    name_items("", [broken.reason for broken in found.unreadable])
    if found.unreadable:
        raise typer.Exit(1)
