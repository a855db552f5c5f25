"""The public names: sorted, importable, and nothing else."""

from __future__ import annotations

import subprocess
import sys

import pytest

import mien
from mien import errors


def test_all_is_sorted_and_without_repeats():
    assert mien.__all__ == sorted(set(mien.__all__))


@pytest.mark.parametrize("name", mien.__all__)
def test_every_public_name_is_there(name: str):
    assert getattr(mien, name) is not None


def test_dir_shows_the_public_names():
    assert dir(mien) == mien.__all__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Recogniser"):
        mien.Recogniser  # noqa: B018


def test_every_error_is_a_mien_error_and_in_the_drawn_tree():
    for name in set(errors.__all__) - {"Remedy"}:
        assert issubclass(getattr(errors, name), errors.MienError)
        assert name in str(errors.__doc__)


def test_star_import_works_in_a_fresh_interpreter():
    code = "from mien import *; print(Recognizer.__name__, MienError.__name__)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split() == [
        "Recognizer",
        "MienError",
    ]
