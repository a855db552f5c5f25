"""Groups of options, spread out into single parameters of a command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from mien.cli.option_groups import Without, with_groups


@dataclass(frozen=True)
class Size:
    """A group with a required option, a flag and a default."""

    width: Annotated[int, typer.Option("--width", help="In pixels.")]
    height: Annotated[int, typer.Option(help="In pixels, too.")] = 3
    turned: Annotated[bool, typer.Option("--turned")] = False


def draw(
    name: Annotated[str, typer.Argument()], *, size: Size, small: Annotated[Size, Without("turned")], loud: bool = False
) -> None:
    """Draw it."""
    typer.echo(f"{name} {size} {loud}")


def fill(name: Annotated[str, typer.Argument()], *, size: Annotated[Size, Without("turned")]) -> None:
    """Fill it."""
    typer.echo(f"{name} {size.width}x{size.height} {size.turned}")


def run(*args: str) -> str:
    app = typer.Typer()
    app.command()(with_groups(fill))
    result = CliRunner().invoke(app, args)
    return result.output if result.exit_code == 0 else f"exit {result.exit_code}"


def test_a_group_comes_with_what_was_given_and_its_defaults() -> None:
    assert run("box", "--width", "7") == "box 7x3 False\n"
    assert run("box", "--width", "7", "--height", "2") == "box 7x2 False\n"


def test_an_option_without_a_default_is_required() -> None:
    assert run("box") == "exit 2"


def test_what_a_command_does_without_is_no_option_of_it() -> None:
    assert run("box", "--width", "7", "--turned") == "exit 2"


def test_the_same_option_twice_is_a_slip_of_the_developer() -> None:
    with pytest.raises(ValueError, match="duplicate parameter"):
        with_groups(draw)
