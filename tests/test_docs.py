"""The documentation is true: commands as documented, links that lead somewhere, Python that runs."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from PIL import Image, ImageChops

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


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory, astronaut: Path) -> Path:
    """A folder that holds what the pages speak of: a photo, a video, a small data set, a model."""
    folder = tmp_path_factory.mktemp("reader")
    photo = Image.open(astronaut)
    photo.save(folder / "photo.jpg")
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


def test_the_readmes_python_says_happy(
    reader: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(reader)
    exec(PYTHON.findall((ROOT / "README.md").read_text(encoding="utf-8"))[0], {})
    assert "happy" in capsys.readouterr().out


def test_every_page_is_in_the_sites_navigation():
    navigation = (ROOT / "zensical.toml").read_text(encoding="utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").as_posix()
        assert f'"{name}"' in navigation, f"{name}: give it a line in zensical.toml"


def test_the_manifest_template_is_valid():
    from mien.model.manifest import parse_manifest

    (template,) = re.findall(r"```json\n(.*?)```", (ROOT / "docs/reference/bundle.md").read_text("utf-8"), re.DOTALL)
    assert len(parse_manifest(template, "docs/reference/bundle.md").classes) == 7


def test_quick_start_has_the_two_commands():
    text = (ROOT / "README.md").read_text(encoding="utf-8").split("## Quick start")[1].split("\n## ")[0]
    assert [line[2:] for line in text.splitlines() if line.startswith("$ ")] == ["make demo", "make test"]
