"""The library names arguments, the command line options."""

from __future__ import annotations

import ast
import pickle
import re
from pathlib import Path

import pytest

from mien.cli.remedies import OPTIONS, worded
from mien.errors import MienError, OutputError, Remedy

ROOT = Path(__file__).parents[2]
LIBRARY = [p for p in sorted((ROOT / "src").rglob("*.py")) if "cli" not in p.parts]


def raised_texts(path: Path) -> list[tuple[int, str]]:
    """(line, text) of every string in a call that makes an error."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        name = getattr(getattr(node, "func", None), "id", "") if isinstance(node, ast.Call) else ""
        if name.endswith(("Error", "Mismatch", "_Wrong", "Problem")):
            texts = (p for p in ast.walk(node) if isinstance(p, ast.Constant) and isinstance(p.value, str))
            found += [(text.lineno, str(text.value)) for text in texts]
    return found


@pytest.mark.parametrize("path", LIBRARY, ids=lambda p: str(p.relative_to(ROOT / "src")))
def test_no_error_of_the_library_names_an_option(path: Path):
    texts = raised_texts(path)
    # `docker run --device` is another program's.
    assert [text for text in texts if re.search(r"(?<!docker run )--[a-z]", text[1])] == []


@pytest.mark.parametrize("path", sorted((ROOT / "src/mien/serve").glob("*.py")), ids=lambda p: p.name)
def test_no_answer_of_the_server_names_an_option(path: Path):
    """Its client is not who started it. Docstrings are for developers, and `mien predict --json` names a command."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = (n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and id(n) not in docs)
    assert [t for t in texts if isinstance(t, str) and re.search(r"--[a-z]", re.sub("`[^`]+`", "", t))] == []


def test_every_remedy_is_an_option_of_a_command():
    reference = (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")
    assert OPTIONS.keys() == set(Remedy)
    for words in OPTIONS.values():
        option = words.rpartition(" ")[2]
        assert f"`{option}" in reference or f"{option} " in reference, option


def test_an_error_is_worded_with_its_options():
    error = OutputError("a.csv: exists already; replace it", Remedy.OVERWRITE)
    assert worded(error) == "a.csv: exists already; replace it (--overwrite)"
    assert str(error) == "a.csv: exists already; replace it"
    assert worded(MienError("gone")) == "gone"
    assert worded(error, {"--out", "--overwrite"}) == "a.csv: exists already; replace it (--overwrite)"
    assert worded(error, {"--out"}) == "a.csv: exists already; replace it"
    assert pickle.loads(pickle.dumps(error)).remedies == (Remedy.OVERWRITE,)
