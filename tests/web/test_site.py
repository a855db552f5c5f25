"""Which files make the page, and the page as static files."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mien.output.rows import Row
from mien.web import site

WEB = Path(site.__file__).parent
needs_runtime = pytest.mark.skipif(not site.has_device_mode(), reason="needs ONNX Runtime Web (make web)")


def test_every_script_of_the_folder_is_named_and_every_import_is_there():
    scripts = {path.name for path in WEB.glob("*.js")} - {"types.js"}  # only the type checker reads types.js
    assert scripts == {name for name in site.PAGE if name.endswith(".js")} | {"sw.js"}
    for name in scripts:
        text = (WEB / name).read_text(encoding="utf-8")
        for module in re.findall(r'^import .*?"\./([^"]+)"', text, re.MULTILINE):
            assert module in scripts, f"{name} imports {module}"


def test_the_page_names_no_other_host():
    for path in [*WEB.glob("*.js"), WEB / "index.html", WEB / "style.css"]:
        outside = re.findall(r"(?:src|href|import|fetch|url)\W{1,3}(https?:)?//", path.read_text(encoding="utf-8"))
        assert not outside, path.name


def test_the_pages_own_policy_is_the_servers():
    html = (WEB / "index.html").read_text(encoding="utf-8")
    (own,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', html)
    assert site.HEADERS["Content-Security-Policy"] == f"{own}; frame-ancestors 'none'"


@pytest.mark.skipif(not shutil.which("node"), reason="needs Node.js")
def test_a_row_of_the_page_has_the_fields_of_pythons():
    check = Path(__file__).with_name("row_check.mjs")
    done = subprocess.run(["node", str(check)], capture_output=True, text=True, check=True)
    assert set(json.loads(done.stdout)) == set(Row.__annotations__)
    typed = (WEB / "types.js").read_text(encoding="utf-8").split("@typedef {object} Row")[1].split("@typedef")[0]
    assert set(re.findall(r"@property \{.*?\} \[?(\w+)", typed)) == set(Row.__annotations__)


def test_without_the_runtime_the_device_mode_is_not_offered(monkeypatch: pytest.MonkeyPatch, mien, tmp_path: Path):
    monkeypatch.setattr(site, "RUNTIME", ("absent.wasm",))
    about = json.loads(bytes(site.page_files(server=True)["site.json"]))  # type: ignore[arg-type]
    assert about["device"] is None
    assert about["server"] is True
    code, _, err = mien("web", tmp_path / "out")
    assert code == 2
    assert "make web" in err


@needs_runtime
def test_static_files_are_complete(site_folder: Path):
    about = json.loads((site_folder / "site.json").read_text(encoding="utf-8"))
    assert about["server"] is False
    assert [each["name"] for each in about["device"]["model"]["answers"]] == ["people", "fer2013"]
    for name in [*about["files"], *about["device_files"]]:
        assert (site_folder / name.split("?")[0]).stat().st_size > 0
    assert "Content-Security-Policy" in (site_folder / "README.txt").read_text(encoding="utf-8")


@needs_runtime
def test_nothing_is_replaced_unasked(mien, tmp_path: Path):
    (tmp_path / "site.json").write_text("mine")
    code, _, err = mien("web", tmp_path)
    assert (code, "--overwrite" in err, (tmp_path / "site.json").read_text()) == (2, True, "mine")
    code, out, _ = mien("web", tmp_path, "--overwrite", "--model", "small")
    assert (code, "README.txt" in out, json.loads((tmp_path / "site.json").read_text())["server"]) == (0, True, False)


@needs_runtime
def test_a_model_that_is_not_there_is_a_clear_error(mien, tmp_path: Path):
    code, _, err = mien("web", tmp_path / "out", "--model", "missing.onnx")
    assert code == 2
    assert "missing.onnx" in err
    assert not (tmp_path / "out").exists()
