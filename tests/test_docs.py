"""The documentation is true: commands as documented, links that lead somewhere, Python that runs."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image, ImageChops
from scripts import check_words

from mien.media.image import read_image
from mien.model.bundle import load_bundle

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "src/mien/weights").glob("*.md")])


def test_the_command_line_is_documented_as_it_is():
    from scripts.make_cli_docs import TARGET, page

    assert TARGET.read_text(encoding="utf-8") == page(), "run: python scripts/make_cli_docs.py"


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.name)
def test_links_lead_to_files_that_are_there(path: Path):
    for target in re.findall(r"\]\(([^)#]+)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)
RUNNABLE = [page for page in PAGES if "```python" in page.read_text(encoding="utf-8")]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_what_pages_import_from_mien_is_there(page: Path):
    """In blocks that do not run here too (`py`): they need a cluster, an object store or another package."""
    blocks = re.findall(r"```py\w*\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    for line in "\n".join(blocks).splitlines():
        if re.match(r"\s*(?:from|import) mien", line) and not line.rstrip().endswith("("):
            exec(line.strip(), {})


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory, astronaut: Path) -> Path:
    """A folder that holds what the pages speak of: a photo, a video, a small data set, a model."""
    folder = tmp_path_factory.mktemp("reader")
    photo = Image.open(astronaut)
    photo.save(folder / "photo.jpg")
    sample = folder / "src/mien/samples/group.jpg"
    sample.parent.mkdir(parents=True)
    shutil.copy(ROOT / "src/mien/samples/group.jpg", sample)
    small_video(folder / "interview.mp4", photo.resize((256, 256)))
    face = photo.crop((180, 70, 270, 175)).convert("L").resize((48, 48))
    for split in ("train", "validation"):
        for number, name in enumerate(load_bundle().manifest.classes):
            place = folder / "data/fer2013" / split / name
            place.mkdir(parents=True)
            for shift in range(3):
                ImageChops.offset(face, number + 1 if split == "train" else -number, shift).save(place / f"{shift}.png")
    shutil.copy(load_bundle().path, folder / "mine.onnx")
    return folder


def small_video(path: Path, picture: Image.Image) -> None:
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = *picture.size, "yuv420p"
        for _ in range(4):
            container.mux(stream.encode(av.VideoFrame.from_image(picture)))
        container.mux(stream.encode())


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda p: p.stem)
def test_every_block_of_python_runs(page: Path, reader: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(reader)
    names: dict[str, object] = {"image": next(iter(read_image(Path("photo.jpg")))).image}
    for block in PYTHON.findall(page.read_text(encoding="utf-8")):
        if "camera:" not in block:
            exec(block, names)


def test_the_readmes_python_prints_what_stands_below_it(
    reader: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(reader)
    ((code, shown),) = re.findall(
        r"```python\n(.*?)```\n\n```\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL
    )
    exec(code, {})
    printed = capsys.readouterr().out
    number = re.compile(r"\d+(?:\.\d+)?")
    assert number.sub("#", printed) == number.sub("#", shown)
    # Processors differ in the last digit.
    assert [float(n) for n in number.findall(printed)] == pytest.approx(
        [float(n) for n in number.findall(shown)], abs=1.5
    )


def test_every_page_is_in_the_sites_navigation():
    navigation = (ROOT / "zensical.toml").read_text(encoding="utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").as_posix()
        assert f'"{name}"' in navigation, f"{name}: give it a line in zensical.toml"


def test_the_manifest_template_is_valid():
    from mien.model.manifest import parse_manifest

    (template,) = re.findall(r"```json\n(.*?)```", (ROOT / "docs/reference/bundle.md").read_text("utf-8"), re.DOTALL)
    assert len(parse_manifest(template, "docs/reference/bundle.md").classes) == 7


def test_the_log_begins_with_a_table_of_its_entries_newest_first():
    text = (ROOT / "LAB.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    anchors = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
    assert re.findall(r"\[entry\]\(#([^)]*)\)", text) == anchors
    assert [heading[:10] for heading in headings] == sorted((heading[:10] for heading in headings), reverse=True)


def test_quick_start_has_the_two_commands():
    text = (ROOT / "README.md").read_text(encoding="utf-8").split("## Quick start")[1].split("\n## ")[0]
    assert [line[2:] for line in text.splitlines() if line.startswith("$ ")] == ["make demo", "make test"]


@pytest.mark.parametrize("path", check_words.pages(), ids=lambda p: p.name)
def test_sentences_are_short_and_american(path: Path):
    assert [str(problem) for problem in check_words.check(path)] == []


def test_texts_in_the_code_are_american():
    assert [str(problem) for path in check_words.sources() for problem in check_words.check(path)] == []


def test_every_command_has_an_example_and_help_in_short_american_sentences():
    from mien.cli import app

    def commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
        yield name, command
        for subname, sub in getattr(command, "commands", {}).items():
            yield from commands(sub, f"{name} {subname}")

    for name, command in commands(typer.main.get_command(app), "mien"):
        assert re.search(rf"{name}\b", command.epilog or ""), f"{name}: give it an example"
        for text in (command.help, *(getattr(parameter, "help", None) for parameter in command.params)):
            assert check_words.SPELLING.search(text or "") is None, f"{name}: {text}"
            for sentence in check_words.split_sentences((text or "").replace("\n\n", ". ")):
                assert check_words.word_count(sentence) <= check_words.MOST_WORDS, f"{name}: {sentence}"


def test_a_page_is_told_what_to_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(check_words, "ROOT", tmp_path)
    page = tmp_path / "docs/page.md"
    page.parent.mkdir()
    long = " ".join(["word"] * 25)
    page.write_text(
        f"# A heading\n\nA good line.\nOne more, by Guo et al. (2017) with `code. And code`.\n\n"
        f"It {long}.\nTwo. Sentences.\n- The colour\n  is [grey](a/grey.png).\n\n"
        f"```\ncolour {long}. Done.\n```\n\n| {long} more |\n",
        encoding="utf-8",
    )
    assert [(problem.line, problem.what) for problem in check_words.check(page)] == [
        (7, "more than one sentence in a line"),
        (6, "26 words"),
        (8, "the sentence goes on in the next line"),
        (8, "British spelling 'colour'"),
        (9, "British spelling 'grey'"),
    ]


def test_names_and_texts_in_the_code_are_american():
    british = re.compile(rf"(?<![A-Za-z])(?:{check_words.BRITISH})(?![A-Za-z])", re.IGNORECASE)
    allowed = {"licence", "optimiser", "cancelled"}  # keys of the first bundles; a method of Python's futures
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for suffix in ("py", "js", "html", "css", "toml")
        for path in (ROOT / "src").rglob(f"*.{suffix}")
        for match in british.finditer(path.read_text(encoding="utf-8"))
        if match.group() not in allowed and "onnxruntime" not in path.parts
    ]
    assert found == []
