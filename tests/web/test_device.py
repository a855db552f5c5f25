"""Reading on the device: the same answers as Python's, and nothing leaves the browser."""

from __future__ import annotations

import base64
import functools
import http.server
import json
import shutil
import subprocess
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest

from mien import Recognizer
from mien.output.rows import rows_of
from mien.web import site

playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright (pip install playwright)")

HERE = Path(__file__).parent
ROWS = "mien-faces .scroll tbody tr"
needs_runtime = pytest.mark.skipif(not site.has_device_mode(), reason="needs ONNX Runtime Web (make web)")
needs_node = pytest.mark.skipif(not shutil.which("node"), reason="needs Node.js")


@needs_node
def test_crop_scale_and_boxes_are_pythons():
    done = subprocess.run(["node", str(HERE / "golden_check.mjs")], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert len(found["crops"]) == 18
    assert max(crop["largest"] for crop in found["crops"]) <= 1
    assert max(each["largest"] for each in found["resizes"]) <= 1
    assert max(found["scales"]) < 1e-12
    assert found["decode"]["largest"] < 1e-6
    assert found["faces"] > 20


def test_the_golden_file_is_what_python_does_now():
    from scripts.make_web_golden import TARGET, golden

    _assert_equal(json.loads(TARGET.read_text(encoding="utf-8")), json.loads(json.dumps(golden())))


def _assert_equal(stored: object, now: object) -> None:
    """Numbers to rounding, pixels to one level: processors round differently."""
    hint = "run: python scripts/make_web_golden.py"
    if isinstance(stored, dict) and isinstance(now, dict):
        assert stored.keys() == now.keys(), hint
        for key, value in stored.items():
            if key in ("pixels", "crop"):
                a, b = (np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8) for text in (value, now[key]))
                assert np.abs(a.astype(int) - b).max() <= 1, hint
            else:
                _assert_equal(value, now[key])
    elif isinstance(stored, list) and isinstance(now, list):
        assert len(stored) == len(now), hint
        for a, b in zip(stored, now, strict=True):
            _assert_equal(a, b)
    elif isinstance(stored, float):
        assert now == pytest.approx(stored, rel=1e-6, abs=1e-6), hint
    else:
        assert stored == now, hint


def read_group(page) -> list[dict]:
    page.click("#samples button >> nth=0")
    playwright.expect(page.locator(ROWS)).to_have_count(3, timeout=60_000)
    return rows_kept(page)


def rows_kept(page) -> list[dict]:
    with page.expect_download() as waiting:
        page.click("#save-json")
    return json.loads(Path(waiting.value.path()).read_text(encoding="utf-8"))


def assert_as_python(found: list[dict], picture: Path, **choice) -> None:
    (item,) = Recognizer(**choice).read_all(_frames(picture))
    for row, wanted in zip(found, rows_of(item), strict=True):
        assert (row["label"], row["answer"]) == (wanted["label"], wanted["answer"])
        assert row["box_xyxy"] == pytest.approx(wanted["box_xyxy"], abs=0.5)
        assert row["score"] == pytest.approx(wanted["score"], abs=0.005)
        assert row["probabilities"] == pytest.approx(wanted["probabilities"], abs=0.01)


@needs_runtime
def test_a_static_page_reads_as_python_does_sends_nothing_and_works_offline(browser, group: Path, site_folder: Path):
    handler = functools.partial(_Silent, directory=str(site_folder.parents[1]))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as host:
        threading.Thread(target=host.serve_forever, args=(0.02,), daemon=True).start()
        url = f"http://127.0.0.1:{host.server_address[1]}/course/faces/"
        context = browser.new_context()
        requests: list = []
        context.on("request", lambda request: requests.append(request))
        page = context.new_page()
        page.goto(url)
        assert_as_python(read_group(page), group)
        page.select_option("#answer", "fer2013")
        page.select_option("#prior", "0.5")
        page.wait_for_selector("#model >> text=answer fer2013, prior even, strength 0.5, in", timeout=60_000)
        assert_as_python(rows_kept(page), group, answer="fer2013", prior="even", prior_strength=0.5)
        assert "Nothing is sent" in page.inner_text("#mode-note")

        _wait_until_kept(page)
        host.shutdown()
        host.server_close()
        page.reload()
        page.click("#samples button >> nth=1")
        playwright.expect(page.locator(ROWS)).to_have_count(1, timeout=60_000)
        # The second visit comes from the store, with the headers for threads.
        assert page.evaluate("crossOriginIsolated")
        context.close()
    assert all(request.method == "GET" and request.post_data_buffer is None for request in requests)
    assert all(request.url.startswith((url, f"blob:{url.split('/course')[0]}")) for request in requests)


NO_MEMORY_TO_SHARE = "delete self.SharedArrayBuffer;"
THREADS_THAT_NEVER_START = "self.Worker = class extends EventTarget { postMessage() {} terminate() {} };"


@needs_runtime
@pytest.mark.parametrize(("broken", "workers"), [(NO_MEMORY_TO_SHARE, 1), (THREADS_THAT_NEVER_START, 2)])
def test_where_threads_do_not_start_one_reads(browser, page_server, broken: str, workers: int):
    context = browser.new_context(service_workers="block")
    # A machine of four cores, on which the page tries two threads; and the time that it gives them, without the wait.
    context.add_init_script(
        """Object.defineProperty(navigator, "hardwareConcurrency", {get: () => 4});
        const wait = self.setTimeout;
        self.setTimeout = (call, time, ...more) => wait(call, time === 6000 ? 50 : time, ...more);
        localStorage.setItem("mode", "device");"""
    )

    def break_it(route) -> None:
        response = route.fetch()
        route.fulfill(response=response, body=broken + response.text())

    context.route("**/worker.js", break_it)
    page = context.new_page()
    started: list = []
    page.on("worker", lambda worker: started.append(worker.url))
    page.goto(page_server.url)
    assert page.evaluate("crossOriginIsolated")
    page.click("#samples button >> nth=1")
    playwright.expect(page.locator(ROWS)).to_have_count(1, timeout=60_000)
    assert [url.rsplit("/", 1)[1] for url in started].count("worker.js") == workers
    context.close()


@needs_runtime
def test_the_page_tells_both_modes_apart_and_reads_again_in_the_other(page, asked: list[str]):
    page.click("#samples button >> nth=1")
    playwright.expect(page.locator("#model")).to_contain_text("on the server")
    page.check("input[value=device]")
    playwright.expect(page.locator("#model")).to_contain_text("on this device", timeout=30_000)
    before = len(asked)
    page.click("#copy-curl")
    page.wait_for_selector("#status.shown >> text=mien predict")
    page.click("#clear")
    read_group(page)
    page.click("#camera")
    assert "Nothing is sent" in page.inner_text("#notice-where")
    page.click("#notice-open")
    playwright.expect(page.locator("#speed")).to_contain_text("frames/s")
    page.click("#stop")
    page.evaluate("localStorage.clear()")
    assert len(asked) == before


def _frames(path: Path):
    from mien.media.image import read_image

    return read_image(path)


def _wait_until_kept(page) -> None:
    """Until the service worker has everything for a visit without a network."""
    for _ in range(300):
        if (
            page.evaluate(
                "caches.open('mien').then((s) => s.keys()).then((k) => k.filter((r) => r.url.includes('?v=')).length)"
            )
            >= 5
        ):
            return
        page.wait_for_timeout(50)
    raise AssertionError("the page did not keep its files")


class _Silent(http.server.SimpleHTTPRequestHandler):
    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, ".mjs": "text/javascript"}  # noqa: RUF012

    def log_message(self, format: str, *args: object) -> None:
        pass
