"""How fast the page reads on the device, in headless Chromium: first result, frames a second, milliseconds a stage.

python benchmarks/page.py [--seconds 10]      needs Chromium, Playwright, and `make web`
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from playwright.sync_api import sync_playwright

from mien.web.export import write_site
from mien.web.site import HEADERS

ARGUMENTS = [
    "--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
    "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
]  # fmt: skip


class _Host(SimpleHTTPRequestHandler):
    """Hands out files; the headers that threads need only where asked to."""

    protocol_version = "HTTP/1.1"
    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, ".mjs": "text/javascript"}  # noqa: RUF012
    isolated = False

    def end_headers(self) -> None:
        for name, value in HEADERS.items() if self.isolated else ():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def hosting(folder: Path, isolated: bool) -> Iterator[str]:
    """Serve a folder on a free port of this machine."""
    kind = type("_Host", (_Host,), {"isolated": isolated})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(kind, directory=str(folder))) as host:
        threading.Thread(target=host.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{host.server_address[1]}/"
        host.shutdown()


def camera_file(folder: Path) -> Path:
    """640 x 480 at 30 frames a second: the sample portrait on gray, one face."""
    portrait = cv2.imread(str(resources.files("mien") / "samples/astronaut.jpg"))
    frame = np.full((480, 640, 3), 96, np.uint8)
    frame[:, 80:560] = cv2.resize(portrait, (480, 480), interpolation=cv2.INTER_AREA)
    path = folder / "camera.y4m"
    planes = cv2.cvtColor(frame, cv2.COLOR_BGR2YUV_I420).tobytes()
    path.write_bytes(b"YUV4MPEG2 W640 H480 F30:1 Ip A1:1 C420jpeg\n" + (b"FRAME\n" + planes) * 3)
    return path


def first_result(page: Any, url: str) -> float:
    """Seconds from opening the page, with nothing kept from before, to the first face in the table."""
    begun = time.perf_counter()
    page.goto(url, wait_until="commit")
    page.click("#samples button >> nth=1")
    page.wait_for_selector("mien-faces .scroll tbody tr")
    return time.perf_counter() - begun


def camera(page: Any, seconds: float) -> tuple[float, float, float]:
    """Frames a second, and the medians of the detector's and the model's milliseconds a frame."""
    page.click("#camera")
    page.click("#notice-open")
    page.wait_for_selector("mien-timeline .lane")
    page.wait_for_timeout(3000)
    readings: list[tuple[float, ...]] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        numbers = re.findall(r"[\d.]+", page.inner_text("#speed"))
        readings.append(tuple(map(float, numbers)))
        page.wait_for_timeout(500)
    page.click("#stop")
    rate, detect, classify = (statistics.median(column) for column in zip(*readings, strict=True))
    return rate, detect, classify


def main() -> None:
    """Measure with one thread and, where the page is isolated, with more."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        write_site(Path(folder) / "site")
        source = f"--use-file-for-fake-video-capture={camera_file(Path(folder))}"
        for isolated in (False, True):
            with hosting(Path(folder) / "site", isolated) as url:
                browser = driver.chromium.launch(executable_path=chromium, args=[*ARGUMENTS, source])
                print("threads:", "half the cores, 1 to 4" if isolated else "1")
                for _ in range(options.repeat):
                    context = browser.new_context(service_workers="block")
                    page = context.new_page()
                    opened = first_result(page, url)
                    page.click("#clear")
                    rate, detect, classify = camera(page, options.seconds)
                    print(
                        f"  first result {opened:4.1f} s   camera 640 x 480, one face: {rate:3.0f} frames/s, "
                        f"detector {detect:3.0f} ms, model {classify:3.0f} ms"
                    )
                    context.close()
                browser.close()


if __name__ == "__main__":
    main()
