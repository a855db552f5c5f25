"""The page in a real browser, with a server that reads the pictures."""

from __future__ import annotations

import csv
import io
import json
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from mien import Recognizer
from mien.output.rows import columns, flat, rows_of

playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright (pip install playwright)")

ROWS = "mien-faces .scroll tbody tr"
BOXES = "mien-picture .box"


def upload(page, *files: Path) -> None:
    page.set_input_files("#files", list(files))


def wait_for_faces(page, count: int) -> None:
    playwright.expect(page.locator(ROWS)).to_have_count(count)


def download(page, button: str) -> bytes:
    with page.expect_download() as waiting:
        page.click(button)
    return Path(waiting.value.path()).read_bytes()


@pytest.fixture(scope="module")
def expected(group: Path) -> list[dict]:
    (frame,) = Recognizer().read_all(_frames(group))
    return [dict(row) for row in rows_of(frame)]


def _frames(path: Path):
    from mien.media.image import read_image

    return read_image(path)


def test_a_sample_shows_its_faces_in_picture_and_table_linked_both_ways(page):
    page.click("#samples button >> nth=0")
    wait_for_faces(page, 3)
    assert page.locator(BOXES).count() == 3
    assert page.inner_text("mien-faces h2") == "3 faces"
    page.hover(f"{ROWS} >> nth=1")
    assert page.get_attribute(f"{BOXES} >> nth=1", "aria-pressed") == "true"
    page.focus(f"{BOXES} >> nth=2")
    assert "selected" in page.get_attribute(f"{ROWS} >> nth=2", "class")
    assert page.inner_text("mien-faces .detail h3") == "Face 3"
    assert page.locator("mien-faces .classes tbody tr").count() == 7


def test_what_is_kept_is_what_mien_writes(page, group: Path, expected: list[dict]):
    upload(page, group)
    wait_for_faces(page, 3)
    classes = list(expected[0]["probabilities"])
    table = list(csv.reader(io.StringIO(download(page, "#save-csv").decode(), newline="")))
    assert table[0] == columns(classes)
    for line, row in zip(table[1:], expected, strict=True):
        cells = flat({**row, "source": "group.jpg"}, classes)  # type: ignore[typeddict-item]
        for text, cell in zip(line, cells.values(), strict=True):
            assert text == ("" if cell is None else str(cell)) or float(text) == pytest.approx(float(str(cell)))
    assert [row["label"] for row in json.loads(download(page, "#save-json"))] == [row["label"] for row in expected]
    picture = download(page, "#save-png")
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"


def test_sliders_redraw_without_asking_and_ask_only_for_smaller_faces(page, group: Path, asked: list[str]):
    upload(page, group)
    wait_for_faces(page, 3)
    assert len(asked) == 1
    page.fill("#min-score", "99")
    wait_for_faces(page, 0)
    assert "3 hidden" in page.inner_text("mien-faces h2")
    page.fill("#min-score", "80")
    page.fill("#min-face", "90")
    wait_for_faces(page, 2)
    assert len(asked) == 1
    with page.expect_response("**/v1/read?min_face=10&*"):
        page.fill("#min-face", "10")
    wait_for_faces(page, 3)
    assert asked[1:] == [f"{page.url}v1/read?min_face=10&min_score=0.5"]


def test_a_bad_picture_says_why_and_the_others_are_read(page, group: Path, astronaut: Path, tmp_path: Path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(group.read_bytes()[:400])
    upload(page, broken, astronaut)
    page.wait_for_selector("#strip button.done")
    assert page.locator("#strip button").count() == 2
    page.click("#strip button.done")
    wait_for_faces(page, 1)
    page.click("#strip button.failed")
    wait_for_faces(page, 0)
    assert len(page.inner_text("mien-faces h2")) > 10
    assert b"broken.jpg" in download(page, "#save-csv")


def test_a_busy_server_is_asked_again_when_it_says(page, astronaut: Path, asked: list[str]):
    busy = iter([{"status": 429, "headers": {"Retry-After": "0.1"}, "body": "{}"}] * 2)

    def answer(route) -> None:
        refusal = next(busy, None)
        if refusal:
            route.fulfill(**refusal)
        else:
            route.continue_()

    page.route("**/v1/read?*", answer)
    upload(page, astronaut)
    wait_for_faces(page, 1)
    assert len(asked) == 3
    page.unroute("**/v1/read?*")


def test_a_reading_that_people_would_dispute_is_shown_as_not_sure(page, astronaut: Path):
    def torn(route) -> None:
        answer = route.fetch().json()
        for face in answer["pictures"][0]["faces"]:
            face["probabilities"] = dict.fromkeys(face["probabilities"], 0.02) | {"sad": 0.46, "neutral": 0.44}
            face["label"], face["confidence"], face["unsure"] = "sad", 0.46, 1
        route.fulfill(json=answer)

    page.route("**/v1/read?*", torn)
    upload(page, astronaut)
    wait_for_faces(page, 1)
    assert "not sure sad 46 %, neutral 44 %" in " ".join(page.inner_text(f"{ROWS} >> nth=0").split())
    assert "not sure" in page.inner_text("mien-picture")
    assert "Not sure: about 46 of 100 people would say sad, 44 would say neutral." in page.inner_text("mien-faces")
    page.unroute("**/v1/read?*")


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_the_copied_command_asks_the_same_again(page, astronaut: Path, tmp_path: Path):
    strange = tmp_path / "it's $HOME.jpg"
    shutil.copy(astronaut, strange)
    upload(page, strange)
    wait_for_faces(page, 1)
    page.click("#copy-curl")
    page.wait_for_selector("#status.shown >> text=Copied")
    command = shlex.split(page.evaluate("navigator.clipboard.readText()"))
    assert command[0] == "curl"
    done = subprocess.run([*command, "-s"], cwd=tmp_path, capture_output=True, check=True)
    assert json.loads(done.stdout)["pictures"][0]["faces"][0]["label"] == "happy"
    page.click("#copy-python")
    page.wait_for_selector("#status.shown >> text=import")
    compile(page.evaluate("navigator.clipboard.readText()"), "snippet", "exec")


def test_pictures_are_taken_by_drop_and_by_paste(page, astronaut: Path):
    for event, field in (("drop", "dataTransfer"), ("paste", "clipboardData")):
        page.evaluate(
            """async ([event, field]) => {
              const data = new DataTransfer();
              const blob = await (await fetch("samples/astronaut.jpg")).blob();
              data.items.add(new File([blob], `${event}.jpg`, {type: "image/jpeg"}));
              const Kind = event === "drop" ? DragEvent : ClipboardEvent;
              dispatchEvent(new Kind(event, {[field]: data, cancelable: true}));
            }""",
            [event, field],
        )
        wait_for_faces(page, 1)
        playwright.expect(page.locator("mien-picture .caption")).to_have_text(f"{event}.jpg, 512 × 512")


def test_the_camera_opens_after_its_notice_alone_and_closes_at_stop(page, asked: list[str]):
    page.evaluate(
        """() => {
          const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
          window.streams = [];
          navigator.mediaDevices.getUserMedia = async (wish) => {
            streams.push(await real(wish));
            return streams.at(-1);
          };
        }"""
    )
    page.click("#camera")
    assert "They are not stored" in page.inner_text("#notice-where")
    page.click("#notice-cancel")
    assert page.evaluate("streams.length") == 0
    page.click("#camera")
    page.click("#notice-open")
    wait_for_faces(page, 1)
    page.wait_for_selector("mien-timeline .lane")
    assert page.evaluate("streams[0].getVideoTracks()[0].readyState") == "live"
    assert all("/v1/live?min_face=" in url for url in asked)
    page.click("#stop")
    assert page.evaluate("streams[0].getVideoTracks()[0].readyState") == "ended"
    assert "Face 1: happy" in page.inner_text("mien-timeline")
    rows = json.loads(download(page, "#save-json"))
    assert rows[0]["track"] == 1
    assert rows[0]["time_s"] >= 0


def test_a_video_file_is_read_as_it_plays_with_a_timeline_to_look_into(page, astronaut: Path, tmp_path: Path):
    av = pytest.importorskip("av")
    import cv2

    path = tmp_path / "clip.mp4"
    picture = cv2.resize(cv2.imread(str(astronaut)), (320, 320), interpolation=cv2.INTER_AREA)
    with av.open(str(path), "w") as film:
        stream = film.add_stream("h264", rate=10)
        stream.width = stream.height = 320
        stream.pix_fmt = "yuv420p"
        for _ in range(20):
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, "bgr24")):
                film.mux(packet)
        film.mux(stream.encode())
    upload(page, path)
    wait_for_faces(page, 1)
    page.wait_for_selector("#pause >> text=Play again")
    page.focus("mien-timeline .plot")
    page.keyboard.press("Home")
    assert page.inner_text("mien-timeline .tip").startswith("0:00.")
    page.keyboard.press("End")
    assert "happy" in page.get_attribute("mien-timeline .plot", "aria-valuetext")
    page.hover("mien-timeline .plot")
    assert page.is_visible("mien-timeline .tip")


def test_the_answer_and_the_prior_are_chosen_and_asked_for(page, group: Path, asked: list[str]):
    upload(page, group)
    wait_for_faces(page, 3)
    page.select_option("#answer", "fer2013")
    page.wait_for_selector("#model >> text=answer fer2013, in")
    page.select_option("#prior", "0.5")
    page.wait_for_selector("#model >> text=answer fer2013, prior even, strength 0.5, in")
    choice = "answer=fer2013&prior=even&prior_strength=0.5"
    assert [url.partition("?")[2] for url in asked] == [
        "min_score=0.5", "min_score=0.5&answer=fer2013", f"min_score=0.5&{choice}"
    ]  # fmt: skip
    (frame,) = Recognizer(answer="fer2013", prior="even", prior_strength=0.5).read_all(_frames(group))
    rows = json.loads(download(page, "#save-json"))
    for row, wanted in zip(rows, rows_of(frame), strict=True):
        assert (row["answer"], row["label"]) == ("fer2013", wanted["label"])
        assert row["probabilities"] == pytest.approx(wanted["probabilities"], abs=1e-4)
    assert "Probability" in page.inner_text("mien-faces .classes caption")
    page.click("#copy-curl")
    page.wait_for_selector("#status.shown >> text=Copied")
    assert shlex.split(page.evaluate("navigator.clipboard.readText()"))[-1] == f"{page.url}v1/read?{choice}"
    page.select_option("#prior", "0")
    page.select_option("#answer", "")
    page.wait_for_selector("#model >> text=answer people, in")


def test_a_token_is_asked_for_and_what_runs_beside_is_told(browser, astronaut: Path, tmp_path: Path):
    from mien.registry import open_registry, parse_reference
    from tests.serve.conftest import bundle, start

    registry = open_registry(str(tmp_path / "registry"))
    first, second = (registry.add(bundle(tmp_path, number))[0] for number in ("1", "2"))
    registry.promote(first, expected=None)
    registry.promote(second, "canary", expected=None, share=0.0)
    registry.promote(second, "shadow", expected=None)
    assert registry.version(parse_reference("tiny@canary")) == second
    registry.close()
    (tmp_path / "token").write_text("a-token-of-some-length")
    server = start(models=("tiny@production",), registry=str(tmp_path / "registry"), token_file=tmp_path / "token")
    context = browser.new_context(service_workers="block")
    page = context.new_page()
    page.goto(server.url)
    assert not page.is_visible("#trials")
    upload(page, astronaut)
    playwright.expect(page.locator("#token-title")).to_have_text("This server wants a token")
    page.fill("#token-text", "wrong")
    page.click("#token-send")
    playwright.expect(page.locator("#token-title")).to_have_text("The server did not take that token")
    page.fill("#token-text", "a-token-of-some-length")
    page.keyboard.press("Enter")
    wait_for_faces(page, 1)
    assert "by the model tiny, version 1" in page.inner_text("#model")
    playwright.expect(page.locator("#trials")).to_contain_text("Version 2 of tiny is tried on 0 % of the requests.")
    assert "Version 2 of tiny runs unseen beside it: it disagreed on" in page.inner_text("#trials")
    assert not page.is_visible("#ask")  # this model has one answer and says no prior
    page.reload()
    upload(page, astronaut)
    page.click("#token-cancel")
    playwright.expect(page.locator("mien-faces h2")).to_contain_text("a token is needed")
    context.close()
    server.stop()


def test_the_page_reaches_nobody_else(browser, page_server):
    context = browser.new_context(service_workers="block")
    page = context.new_page()
    page.goto(page_server.url)
    page.wait_for_selector("html[data-ready]")
    blocked = page.evaluate(
        """async () => {
          const seen = [];
          addEventListener("securitypolicyviolation", (event) => seen.push(event.effectiveDirective));
          const away = "http://example.org/";
          await fetch(away, {method: "POST", body: "x"}).catch(() => undefined);
          navigator.sendBeacon(away, "x");
          try { new WebSocket("ws://example.org/"); } catch { /* some browsers throw */ }
          document.body.append(Object.assign(new Image(), {src: away + "x.png"}));
          document.body.append(Object.assign(document.createElement("script"), {textContent: "window.evil = 1"}));
          document.body.append(Object.assign(document.createElement("script"), {src: away + "x.js"}));
          document.body.append(Object.assign(document.createElement("iframe"), {src: away}));
          const form = Object.assign(document.createElement("form"), {action: away, method: "post"});
          document.body.append(form);
          form.submit();
          while (new Set(seen).size < 5) await new Promise((resolve) => setTimeout(resolve, 5));
          return [[...new Set(seen)].sort(), window.evil ?? null, location.href];
        }"""
    )
    assert blocked == [["connect-src", "form-action", "frame-src", "img-src", "script-src-elem"], None, page_server.url]
    context.close()


AXE = Path(__file__).parents[2] / "scripts/web/node_modules/axe-core/axe.min.js"


@pytest.mark.skipif(not AXE.exists(), reason="needs axe-core (make web-check)")
def test_nothing_that_axe_finds_bars_anybody(page):
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = []

    def look() -> None:
        found.append(page.evaluate("axe.run()"))
        page.emulate_media(color_scheme="dark")  # the same page, but for its colors
        found.append(page.evaluate("axe.run({runOnly: ['color-contrast']})"))
        page.emulate_media(color_scheme="light")

    page.click("#camera")
    look()
    page.click("#notice-cancel")
    look()
    page.click("#samples button >> nth=0")
    wait_for_faces(page, 3)
    look()
    wrong = [(each["id"], [node["html"] for node in each["nodes"]]) for run in found for each in run["violations"]]
    assert not wrong


def test_the_keyboard_alone_reads_a_sample(page):
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('#samples') !== null"):
            break
    page.keyboard.press("Enter")
    wait_for_faces(page, 3)
