"""The documentation is true: commands as documented, links that lead somewhere, Python that runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "src/mien/weights").glob("*.md")])


def test_the_command_line_is_documented_as_it_is():
    from scripts.make_cli_docs import TARGET, page

    assert TARGET.read_text(encoding="utf-8") == page(), "run: python scripts/make_cli_docs.py"


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.name)
def test_links_lead_to_files_that_are_there(path: Path):
    for target in re.findall(r"\]\(([^)#]+)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


def test_the_readmes_python_runs(astronaut: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    exec(code.replace('"photo.jpg"', repr(str(astronaut))), {})
    assert "happy" in capsys.readouterr().out


def test_the_manifest_template_is_valid():
    from mien.model.manifest import parse_manifest

    (template,) = re.findall(r"```json\n(.*?)```", (ROOT / "docs/bundle.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(parse_manifest(template, "docs/bundle.md").classes) == 7


def test_quick_start_has_the_two_commands():
    text = (ROOT / "README.md").read_text(encoding="utf-8").split("## Quick start")[1].split("\n## ")[0]
    assert [line[2:] for line in text.splitlines() if line.startswith("$ ")] == ["make demo", "make test"]
