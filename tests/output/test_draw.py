"""Boxes, tags and bars on pictures; contact sheets; picture files."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

from mien.dataset.labels import SEVEN
from mien.errors import OutputError
from mien.output.draw import COLORS, annotate, color_of, ink_on, write_picture
from mien.output.text import fit_text, text_width
from mien.records import Box, Expression, Face, Image, Reading

HAPPY = (0.01, 0.0, 0.02, 0.93, 0.03, 0.0, 0.01)


def reading(box: Box, probabilities=HAPPY, classes=SEVEN) -> Reading:
    return Reading("a.jpg", 0, None, Face(box, 0.9), Expression(tuple(classes), tuple(probabilities)))


def blank(width: int, height: int, value: int = 128) -> Image:
    return np.full((height, width, 3), value, np.uint8)


def changed(before: Image, after: Image) -> tuple[int, int, int, int]:
    """Smallest xyxy that holds every changed pixel."""
    rows, columns = np.nonzero((before != after).any(2))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def has_color(image: Image, label: str) -> bool:
    return bool((image == np.array(color_of(label)[::-1])).all(2).any())


# --- annotate ---------------------------------------------------------------------------------------------------------


def test_no_faces_gives_an_equal_copy():
    image = blank(64, 48)
    result = annotate(image, [])
    assert np.array_equal(result, image)
    assert not np.shares_memory(result, image)


def test_the_picture_is_not_changed():
    image = blank(320, 240)
    image.flags.writeable = False
    result = annotate(image, [reading((40, 60, 140, 180))])
    assert (image == 128).all()
    assert result.flags.writeable
    assert result.dtype == np.uint8
    assert result.shape == image.shape


def test_the_same_twice_and_in_another_process(tmp_path):
    image = blank(320, 240)
    readings = [reading((40, 60, 140, 180)), reading((200, 60, 280, 160), (0.6, 0.4), ("bored", "smug"))]
    assert np.array_equal(annotate(image, readings), annotate(image, readings))
    program = "from mien.output.draw import color_of; print(color_of('bored'), color_of('smug'))"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_the_box_is_drawn_in_the_expressions_color_and_its_inside_is_left_alone():
    image = blank(512, 512)
    result = annotate(image, [reading((168, 60, 278, 190))])
    for x, y in ((168, 120), (277, 120), (220, 60), (220, 189)):
        assert tuple(result[y, x]) == COLORS["happy"][::-1]
    assert (result[66:184, 174:272] == 128).all()


def test_pixels_away_from_the_face_are_unchanged():
    image = blank(1000, 800)
    x1, y1, x2, y2 = changed(image, annotate(image, [reading((400, 300, 550, 480))]))
    assert x1 >= 395
    assert y1 >= 250
    assert x2 <= 900
    assert y2 <= 560


@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 2), (20, 20), (40, 400), (400, 40), (150, 150), (640, 480)])
def test_every_size_of_picture(width, height):
    image = blank(width, height)
    result = annotate(image, [reading((0.2 * width, 0.2 * height, 0.8 * width, 0.9 * height))])
    assert result.shape == image.shape


def test_a_24_megapixel_picture_is_drawn_on_whole():
    image = blank(6000, 4000)
    result = annotate(image, [reading((1000, 1000, 2200, 2500)), reading((4000, 500, 4200, 750))])
    assert tuple(result[1010, 1500]) == COLORS["happy"][::-1]


@pytest.mark.parametrize("side", [200, 512, 1024, 4096])
def test_the_tag_can_be_read_at_every_size(side):
    """Shown 800 pixels wide, the tag is between 9 and 60 pixels high."""
    image = blank(side, side)
    x1, y1, x2, y2 = 0.3 * side, 0.4 * side, 0.55 * side, 0.7 * side
    _, top, _, _ = changed(image, annotate(image, [reading((x1, y1, x2, y2), (1.0, 0.0), ("happy", "sad"))]))
    assert 9 <= (y1 - top) * 800 / side <= 75


def test_the_bars_stand_right_of_the_face_and_flip_left_at_the_edge():
    image = blank(512, 512)
    right = changed(image, annotate(image, [reading((100, 100, 220, 240))]))
    assert right[2] > 330
    assert right[0] >= 96
    left = changed(image, annotate(image, [reading((380, 100, 500, 240))]))
    assert left[0] < 280
    assert left[2] <= 504


def test_the_bars_go_below_where_the_sides_are_full():
    image = blank(200, 600)
    assert changed(image, annotate(image, [reading((40, 60, 170, 200))]))[3] > 290


def test_a_small_face_has_a_tag_but_no_bars():
    image = blank(512, 512)
    x1, y1, x2, y2 = changed(image, annotate(image, [reading((200, 200, 240, 240))]))
    assert (x2 - x1) < 110
    assert y1 < 196
    assert y2 <= 244
    why: Counter[str] = Counter()
    annotate(image, [reading((200, 200, 240, 240)), reading((40, 60, 160, 190))], why)
    assert why.total() == 1
    assert "small" in next(iter(why))


def test_tags_and_bars_do_not_hide_other_faces():
    image = blank(760, 300)
    boxes = [(20.0 + 120 * index, 100.0, 104.0 + 120 * index, 200.0) for index in range(6)]
    result = annotate(image, [reading(box) for box in boxes])
    for x1, y1, x2, y2 in boxes:
        assert (result[int(y1) + 6 : int(y2) - 6, int(x1) + 6 : int(x2) - 6] == 128).all()


def test_many_faces():
    image = blank(800, 600)
    boxes = [
        (50.0 * column, 60.0 * row, 50.0 * column + 45, 60.0 * row + 55) for column in range(16) for row in range(10)
    ]
    assert annotate(image, [reading(box) for box in boxes]).shape == image.shape


@pytest.mark.parametrize(
    "box", [(-50, -40, 60, 80), (250, 180, 400, 300), (-10, 50, 330, 120), (-1e7, -1e7, 1e7, 1e7), (0, 0, 320, 240)]
)
def test_a_box_that_reaches_out_of_the_frame(box):
    image = blank(320, 240)
    result = annotate(image, [reading(box)])
    assert not np.array_equal(result, image)


def test_the_edge_outside_the_frame_is_not_drawn_at_the_border():
    result = annotate(blank(320, 240), [reading((-50, 60, 60, 200))])
    column = result[100:190, 0]
    assert (column == 128).all()


@pytest.mark.parametrize("box", [(400, 10, 500, 60), (-90, -90, -10, -10), (50, 50, 50, 90), (80, 80, 60, 60)])
def test_a_box_without_pixels_in_the_frame_is_left_out(box):
    image = blank(320, 240)
    assert np.array_equal(annotate(image, [reading(box)]), image)


coordinates = st.floats(-300, 600, allow_nan=False)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 30) | st.integers(1, 300),
    st.integers(1, 30) | st.integers(1, 300),
    st.lists(st.tuples(coordinates, coordinates, st.floats(0, 400), st.floats(0, 400)), max_size=5),
)
def test_any_box_in_any_picture(width, height, boxes):
    image = blank(width, height)
    result = annotate(image, [reading((x, y, x + w, y + h)) for x, y, w, h in boxes])
    assert result.shape == image.shape
    assert (image == 128).all()


@pytest.mark.parametrize("name", ["fröhlich", "злой", "高兴", "", "a\nb", "\udcff", "x" * 64, "😀"])
def test_class_names_of_every_script(name):
    image = blank(640, 480)
    result = annotate(image, [reading((200, 150, 320, 300), (0.9, 0.1), (name, "sad"))])
    assert has_color(result, name)


def test_accents_are_shown():
    width = text_width("fröhlich", 40)
    assert width > 0
    image = blank(640, 480)
    boxes = [reading((200, 150, 320, 300), (0.9, 0.1), (name, "sad")) for name in ("é", "ü")]
    assert not np.array_equal(annotate(image, boxes[:1]), annotate(image, boxes[1:]))


def test_without_fonts_accents_are_dropped(monkeypatch):
    from mien.output import text as lettering

    monkeypatch.setattr(lettering, "FALLBACK_FONTS", ("no such font.ttf",))
    lettering._showable.cache_clear()
    assert lettering._showable("fröhlich") == ("frohlich", None)
    assert lettering._showable("angry") == ("angry", None)
    lettering._showable.cache_clear()


def test_many_classes_show_the_most_probable():
    classes = [f"c{index}" for index in range(40)]
    image = blank(1200, 900)
    result = annotate(image, [reading((300, 200, 600, 600), [0.61, *[0.01] * 39], classes)])
    assert changed(image, result)[2] > 620


def test_known_classes_have_colors_of_their_own():
    assert len({color_of(name) for name in (*SEVEN, "contempt")}) == 8
    assert color_of("Happy") == COLORS["happy"]
    assert color_of("bored") in COLORS.values()


def test_text_on_every_color_has_contrast():
    def luminance(color):
        red, green, blue = ((c / 255 / 12.92) if c < 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in color)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    for color in COLORS.values():
        low, high = sorted((luminance(color), luminance(ink_on(color))))
        assert (high + 0.05) / (low + 0.05) >= 4.5  # WCAG AA


@given(st.text(max_size=40), st.integers(0, 200))
@settings(max_examples=40, deadline=None)
def test_fitted_text_fits(text, width):
    fitted = fit_text(text, 12, width)
    assert fitted == "…" or text_width(fitted, 12) <= width


# --- write_picture ----------------------------------------------------------------------------------------------------


def test_png_is_lossless_and_bgr(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    write_picture(image, tmp_path / "a.PNG")
    with PillowImage.open(tmp_path / "a.PNG") as written:
        assert written.format == "PNG"
        assert np.array_equal(np.asarray(written)[..., ::-1], image)


@pytest.mark.parametrize("name", ["a.jpg", "a.jpeg"])
def test_jpeg(tmp_path, name):
    image = blank(30, 20)
    image[..., 2] = 255
    write_picture(image, tmp_path / name)
    with PillowImage.open(tmp_path / name) as written:
        assert written.format == "JPEG"
        assert np.allclose(np.asarray(written)[..., ::-1], image, atol=4)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_an_existing_picture_is_replaced(tmp_path):
    write_picture(blank(30, 20), tmp_path / "a.png")
    write_picture(blank(10, 10), tmp_path / "a.png")
    with PillowImage.open(tmp_path / "a.png") as written:
        assert written.size == (10, 10)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.gif", r"ends in \.jpg, \.jpeg or \.png"),
        ("a", r"ends in \.jpg"),
        ("absent/a.png", r"a\.png: cannot be written \(No such file"),
        ("folder.png", "cannot be written"),
        ("x" * 300 + ".png", "cannot be written"),
        ("a\0.png", "cannot be written"),
    ],
)
def test_places_that_cannot_be_written(tmp_path, name, message):
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(OutputError, match=message):
        write_picture(blank(8, 8), tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def test_a_failure_leaves_the_old_picture(tmp_path, monkeypatch):
    write_picture(blank(8, 8), tmp_path / "a.jpg")
    before = (tmp_path / "a.jpg").read_bytes()
    with pytest.raises(OutputError, match="cannot be written"):
        write_picture(blank(70_000, 2), tmp_path / "a.jpg")  # JPEG ends at 65,535
    monkeypatch.setattr(Path, "replace", _full)
    with pytest.raises(OutputError, match="No space left on device"):
        write_picture(blank(8, 8), tmp_path / "a.jpg")
    assert (tmp_path / "a.jpg").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.jpg"]


def _full(*_):
    raise OSError(28, "No space left on device")


def test_an_unsure_reading_has_only_the_corners_of_its_box():
    image = np.full((300, 400, 3), 90, np.uint8)
    box = (150, 100, 250, 220)
    sure = annotate(image, [reading(box, classes=("a", "b", "c"), probabilities=(0.6, 0.2, 0.2))])
    unsure = annotate(image, [reading(box, classes=("a", "b", "c"), probabilities=(0.4, 0.3, 0.3))])
    left_middle, left_corner = (160, 150), (215, 150)
    assert (sure[left_middle] != image[left_middle]).any()
    assert (unsure[left_middle] == image[left_middle]).all()
    assert (unsure[left_corner] != image[left_corner]).any()
