"""Makes the pictures of the documentation from the bundled sample, by the commands that stand beside them.

python scripts/make_docs_pictures.py

The picture of the page needs Playwright and Chromium; it is left as it is where they are missing.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

from mien import Recognizer
from mien.cli import app
from mien.media.image import read_image
from mien.records import Expression, FrameReadings
from mien.report.timeline_svg import to_svg
from mien.temporal.timeline import Recorder

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "src/mien/samples/group.jpg"
PICTURES = ROOT / "docs/pictures"
WIDTH = 944
"""Width of a picture in the documentation, in pixels."""
PORT = 8477
"""Where the server listens while its page is shown."""


def main() -> None:
    """Write `annotated.jpg`, `blurred.jpg`, `timeline.svg` and `page.jpg`."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name, options in (("annotated", []), ("blurred", ["--blur-faces"])):
        with tempfile.TemporaryDirectory() as folder:
            app(["predict", str(SAMPLE), "--annotate", folder, *options], standalone_mode=False)
            (drawn,) = Path(folder).iterdir()
            picture = Image.open(drawn)
            picture.thumbnail((WIDTH, WIDTH))
            picture.save(PICTURES / f"{name}.jpg", quality=85, optimize=True)
    recorder = Recorder()
    for frame in acted_frames():
        recorder.add(frame)
    (PICTURES / "timeline.svg").write_text(to_svg(recorder.timeline()), encoding="utf-8")
    show_page()


def show_page() -> None:
    """The page of `mien serve` with a sample open."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium or find_spec("playwright") is None:
        print("no Chromium or no Playwright here: page.jpg is left as it is", file=sys.stderr)
        return
    from playwright.sync_api import sync_playwright

    server = subprocess.Popen([sys.executable, "-m", "mien", "serve", "--port", str(PORT)])
    try:
        wait_for(f"http://127.0.0.1:{PORT}/v2/health/ready")
        with sync_playwright() as driver, tempfile.TemporaryDirectory() as folder:
            browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1100, "height": 790}, color_scheme="light")
            page.goto(f"http://127.0.0.1:{PORT}/")
            page.wait_for_selector("html[data-ready]")
            page.click("#samples button >> nth=1")
            page.wait_for_selector("table tbody tr")
            page.wait_for_timeout(8000)  # the notice goes
            page.screenshot(path=Path(folder) / "page.png")
            browser.close()
            picture = Image.open(Path(folder) / "page.png").convert("RGB")
            picture.thumbnail((WIDTH, WIDTH))
            picture.save(PICTURES / "page.jpg", quality=85, optimize=True)
    finally:
        server.terminate()
        server.wait()


def wait_for(url: str, seconds: float = 60) -> None:
    """Until an address answers."""
    end = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(url, timeout=5)
            return
        except OSError:  # noqa: PERF203 - this loop waits
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


def acted_frames(seconds: int = 30, fps: int = 5) -> Iterator[FrameReadings]:
    """A video that was never filmed: two faces of the sample, with probabilities that come and go."""
    (photo,) = read_image(SAMPLE)
    found = Recognizer().read(SAMPLE)[:2]
    for number in range(seconds * fps):
        time_s = number / fps
        readings = tuple(
            replace(
                reading, frame=number, time_s=time_s, track=track, expression=acted(reading.expression, time_s, track)
            )
            for track, reading in enumerate(found, 1)
            if track == 1 or 6 <= time_s < 26
        )
        yield FrameReadings(replace(photo, source="interview.mp4", index=number, time_s=time_s), readings)


def acted(expression: Expression, time_s: float, track: int) -> Expression:
    """Happy, surprised and neutral by turns."""
    strengths = {
        "happy": 3 * math.sin(time_s / 4 + track),
        "surprise": 3 * math.sin(time_s / 3 - track) - 1,
        "neutral": 1.0,
    }
    shares = [math.exp(strengths.get(name, -3.0)) for name in expression.classes]
    return replace(expression, probabilities=tuple(share / sum(shares) for share in shares))


if __name__ == "__main__":
    main()
