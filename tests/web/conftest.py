"""A browser for the page's tests: the Chromium that is installed, driven by Playwright.

Where one of them is missing, the tests are skipped.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.serve.conftest import Running

ARGUMENTS = [
    "--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
    "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
]  # fmt: skip
SIDE = 240
"""Height and width of the fake camera's picture, pixels."""


@pytest.fixture(scope="session")
def fake_camera(tmp_path_factory: pytest.TempPathFactory, astronaut: Path) -> Path:
    """What the browser's camera shows: the sample portrait, as uncompressed video (YUV4MPEG2)."""
    import cv2

    picture = cv2.resize(cv2.imread(str(astronaut)), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    planes = cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420).tobytes()
    path = tmp_path_factory.mktemp("camera") / "camera.y4m"
    path.write_bytes(f"YUV4MPEG2 W{SIDE} H{SIDE} F20:1 Ip A1:1 C420jpeg\n".encode() + (b"FRAME\n" + planes) * 4)
    return path


@pytest.fixture(scope="session")
def browser(fake_camera: Path):
    """Chromium, once for all tests."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright (pip install playwright)")
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        pytest.skip("needs Chromium (apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        camera = f"--use-file-for-fake-video-capture={fake_camera}"
        started = driver.chromium.launch(executable_path=chromium, args=[*ARGUMENTS, camera])
        yield started
        started.close()


@pytest.fixture(scope="session")
def site_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page as static files, written once, in a folder that a server could hand out: `course/faces`."""
    from mien.web.export import write_site

    out = tmp_path_factory.mktemp("static") / "course" / "faces"
    write_site(out)
    return out


@pytest.fixture(scope="session")
def page_server() -> Iterator[Running]:
    """`mien serve`, with the model that the device mode has too."""
    pytest.importorskip("uvicorn", reason="needs the extra serve")
    from tests.serve.conftest import start

    running = start(timeout_s=60)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def tab(browser):
    """One tab for the tests that need no fresh memory."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 860}, permissions=["clipboard-read", "clipboard-write"]
    )
    yield context.new_page()
    context.close()


@pytest.fixture
def asked(tab) -> Iterator[list[str]]:
    """Addresses that the page sent something to."""
    sent: list[str] = []

    def note(request) -> None:
        if request.method != "GET":
            sent.append(request.url)

    tab.on("request", note)
    yield sent
    tab.remove_listener("request", note)


@pytest.fixture
def page(tab, page_server: Running, asked: list[str]):
    """The page, open, reading on the server; an error in its script fails the test."""
    errors: list[str] = []

    def crashed(error) -> None:
        errors.append(str(error))

    def note(message) -> None:
        if "Content Security" in message.text:
            errors.append(message.text)

    tab.on("pageerror", crashed)
    tab.on("console", note)
    tab.goto(page_server.url)
    tab.wait_for_selector("html[data-ready]")
    yield tab
    tab.remove_listener("pageerror", crashed)
    tab.remove_listener("console", note)
    assert not errors
