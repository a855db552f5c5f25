"""What an audit finds in data with known faults, what it leaves alone, and what becomes of its list."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from mien.audit import Audit, audit, to_csv, to_leave_out
from mien.audit.near import near_pairs
from mien.dataset import exclude, open_splits
from mien.dataset.fingerprint import SIDE_PX, TURNS, pixel_key, thumbnail, turned
from mien.detect import StubDetector, make_detector
from mien.errors import DatasetError
from mien.model.bundle import Bundle
from mien.model.session import Session
from mien.records import Face
from mien.report import audit_to_html, audit_to_json, audit_to_text

Run = Callable[..., tuple[int, str, str]]


def drawn(seed: int, side: int = 48) -> np.ndarray:
    """A gray picture of a few soft blobs: uint8 `[side, side]`; another seed is another picture."""
    rng = np.random.default_rng(seed)
    image = np.full((side, side), 128, np.float64)
    y, x = np.mgrid[:side, :side] / side
    for cx, cy, size, level in zip(*rng.random((3, 9)), rng.uniform(-110, 110, 9), strict=True):
        image += level * np.exp(-(((x - cx) ** 2 + (y - cy) ** 2) / (0.02 + 0.05 * size)))
    return np.clip(image, 0, 255).astype(np.uint8)


def put(path: Path, image: np.ndarray, **options: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **options)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Six different pictures in train, four in validation, and nothing wrong with them."""
    root = tmp_path / "data"
    for i in range(6):
        put(root / f"train/{'happy' if i < 3 else 'sad'}/{i}.png", drawn(i))
    for i in range(6, 10):
        put(root / f"validation/{'happy' if i < 8 else 'sad'}/{i}.png", drawn(i))
    return root


def look(root: Path) -> Audit:
    return audit(open_splits(root))


def paths(found: Audit) -> list[list[str]]:
    """The pictures of each pair."""
    return [sorted((p.first.path_from(found.data), p.second.path_from(found.data))) for p in found.near]


def left_out(root: Path, **options: bool) -> dict[str, str]:
    return to_leave_out(look(root), **options)


def test_clean_data_have_no_findings(data: Path):
    found = look(data)
    assert (found.pictures, found.identical, found.near, found.blank, found.unreadable) == (10, (), (), (), ())
    assert found.balance == {"train": {"happy": 3, "sad": 3}, "validation": {"happy": 2, "sad": 2}}
    assert to_leave_out(found) == {}


def test_identical_pictures_inside_a_split_and_across(data: Path):
    put(data / "train/happy/copy.bmp", drawn(0))  # another file, the same pixels
    put(data / "train/happy/leak.png", drawn(6))
    found = look(data)
    assert [g.splits for g in found.identical] == [("train",), ("train", "validation")]
    assert (found.copies("train"), found.copies("validation")) == (1, 0)
    assert (found.repeated("validation", "train"), found.repeated("train", "validation")) == (1, 1)
    assert found.near == ()
    assert to_leave_out(found) == {
        "train/happy/copy.bmp": "same pixels as train/happy/0.png",
        "train/happy/leak.png": "same pixels as validation/happy/6.png",
    }


@pytest.mark.parametrize("turn", range(8), ids=TURNS)
def test_a_turned_or_mirrored_copy_is_nearly_identical(turn: int, data: Path):
    put(data / "train/sad/turned.png", turned(drawn(7)[None], turn)[0])
    if turn == 0:
        put(data / "train/sad/turned.png", drawn(7) // 2 + 30)  # darker, and with less contrast
    found = look(data)
    assert paths(found) == [["train/sad/turned.png", "validation/happy/7.png"]]
    (pair,) = found.near
    assert pair.correlation > 0.99
    assert pair.splits == ("train", "validation")
    assert pair.labels == ("happy", "sad")
    back = turned(drawn(7)[None], TURNS.index(pair.turn))[0]
    assert np.abs(back.astype(int) - turned(drawn(7)[None], turn)[0]).max() < (2 if turn else 999)
    assert to_leave_out(found) == {"train/sad/turned.png": "looks like validation/happy/7.png"}


def test_another_compression_or_size_is_nearly_identical(data: Path):
    put(data / "train/happy/jpeg.jpg", drawn(0), quality=30)
    put(data / "validation/sad/large.png", cv2.resize(drawn(8), (131, 97), interpolation=cv2.INTER_CUBIC))
    found = look(data)
    assert sorted(paths(found)) == [
        ["train/happy/0.png", "train/happy/jpeg.jpg"],
        ["validation/sad/8.png", "validation/sad/large.png"],
    ]
    assert to_leave_out(found) == {}, "near copies within a split stay"


def test_near_copies_of_a_leaked_picture_are_found_beside_the_leak(data: Path):
    put(data / "train/happy/leak.png", drawn(6))
    put(data / "train/happy/mirrored.png", np.fliplr(drawn(6)))
    assert left_out(data) == {
        "train/happy/leak.png": "same pixels as validation/happy/6.png",
        "train/happy/mirrored.png": "looks like validation/happy/6.png",
    }


def test_many_likenesses_stay_of_the_order_of_the_pictures(tmp_path: Path):
    rng = np.random.default_rng(0)
    for i in range(60):
        put(tmp_path / f"train/{'ab'[i % 2]}/{i}.png", drawn(1) // 2 + rng.integers(0, 20, (48, 48)).astype(np.uint8))
    assert 30 <= len(look(tmp_path).near) <= 120


def test_one_picture_under_two_labels(data: Path):
    put(data / "train/sad/again.png", drawn(0))
    put(data / "train/sad/mirrored.png", np.fliplr(drawn(1)))
    found = look(data)
    assert [g.labels for g in found.identical] == [("happy", "sad")]
    assert [p.labels for p in found.near] == [("happy", "sad")]
    reason = "same pixels under happy and sad"
    assert to_leave_out(found) == {"train/happy/0.png": reason, "train/sad/again.png": reason}


def test_of_three_splits_the_last_keeps_the_picture(data: Path):
    put(data / "test/happy/a.png", drawn(6))
    put(data / "test/sad/b.png", drawn(50))
    put(data / "train/happy/leak.png", drawn(6))
    same = "same pixels as test/happy/a.png"
    assert left_out(data) == {"train/happy/leak.png": same, "validation/happy/6.png": same}


def test_blank_pictures(data: Path):
    for name, level in (("black", 0), ("gray", 130)):
        put(data / f"train/sad/{name}.png", np.full((48, 48), level, np.uint8))
    faint = np.full((200, 300, 3), 90, np.uint8)
    faint[::2] += 4
    put(data / "train/happy/faint.png", faint)
    found = look(data)
    assert [p.sample.path.stem for p in found.blank] == ["faint", "black", "gray"]
    assert found.near == ()
    assert set(to_leave_out(found).values()) == {"blank"}


def test_unreadable_files_are_named_and_make_the_exit_code_1(data: Path, tmp_path: Path, run: Run):
    (data / "train/happy/torn.png").write_bytes((data / "train/happy/0.png").read_bytes()[:90])
    (data / "train/sad/empty.jpg").touch()
    code, out, err = run("audit", data, "--faces", "none", "--no-labels", "--fix", tmp_path / "fix.csv")
    assert code == 1
    assert "torn.png" in err
    assert "empty.jpg" in err
    assert [line.split()[1] for line in out.splitlines() if line.startswith("unreadable")] == ["2"]
    assert (
        tmp_path / "fix.csv"
    ).read_text() == "path,reason\ntrain/happy/torn.png,unreadable\ntrain/sad/empty.jpg,unreadable\n"


def test_the_list_is_accepted_by_evaluate_and_train_and_leaves_nothing_to_find(
    data: Path, tmp_path: Path, run: Run, tiny_bundle: Bundle
):
    put(data / "train/happy/leak.png", drawn(6))
    put(data / 'train/happy/odd, "name".png', drawn(0))
    put(data / "validation/sad/twice.png", drawn(8))
    (data / "validation/sad/empty.png").touch()
    fix = tmp_path / "lists/fix.csv"
    assert run("audit", data, "--faces", "none", "--no-labels", "--fix", fix)[0] == 1
    with fix.open(newline="") as file:
        listed = [row["path"] for row in csv.DictReader(file)]
    assert sorted(listed) == [
        'train/happy/leak.png', 'train/happy/odd, "name".png', "validation/sad/empty.png", "validation/sad/twice.png"
    ]  # fmt: skip
    code, out, err = run("evaluate", data, "--model", tiny_bundle.path, "--exclude", fix, "--json", tmp_path / "e.json")
    assert (code, "unreadable" in err) == (0, False)
    assert json.loads((tmp_path / "e.json").read_text())["scores"]["samples"] == 4
    assert "mean" in out
    code, _, _ = run("evaluate", data, "--split", "train", "--model", tiny_bundle.path, "--exclude", fix)
    assert code == 0
    again = audit([exclude(split, fix) for split in open_splits(data)])
    assert (again.pictures, again.identical, again.near, again.unreadable) == (10, (), (), ())


def test_an_empty_list_leaves_everything(data: Path, tmp_path: Path, run: Run, tiny_bundle: Bundle):
    assert run("audit", data, "--faces", "none", "--no-labels", "--fix", tmp_path / "fix.csv")[0] == 0
    assert (tmp_path / "fix.csv").read_text() == "path,reason\n"
    assert run("evaluate", data, "--model", tiny_bundle.path, "--exclude", tmp_path / "fix.csv")[0] == 0


def test_a_link_is_left_out_and_what_it_leads_to_stays(data: Path, tmp_path: Path):
    (data / "train/happy/link.png").symlink_to(data / "validation/happy/6.png")
    (tmp_path / "fix.csv").write_text(to_csv(left_out(data)))
    train, validation = (exclude(split, tmp_path / "fix.csv") for split in open_splits(data))
    assert (len(train), len(validation)) == (6, 4)


def test_training_leaves_out_what_is_listed(data: Path, tmp_path: Path):
    pytest.importorskip("torch")
    from mien.model.manifest import InputSpec
    from mien_train.data.packs import load_training_data

    put(data / "train/happy/copy, 2.png", drawn(0))
    (tmp_path / "fix.csv").write_text(to_csv(left_out(data)))
    spec = InputSpec(height=48, width=48, channels=1, color="gray")
    whole = load_training_data(data, spec, tmp_path / "cache")
    fixed = load_training_data(data, spec, tmp_path / "cache", without=tmp_path / "fix.csv")
    assert (len(whole.train.labels), len(fixed.train.labels)) == (7, 6)
    assert len(fixed.validation.labels) == 4
    assert fixed.excluded == ("train/happy/copy, 2.png",)
    assert whole.fingerprint != fixed.fingerprint


def test_a_run_remembers_what_was_left_out(data: Path, tmp_path: Path, run: Run):
    pytest.importorskip("torch")
    from mien_train.data.packs import EXCLUDED_FILE, load_training_data
    from mien_train.data.tensors import input_spec
    from mien_train.recipe import load_recipe

    put(data / "train/happy/copy, 2.png", drawn(0))
    (tmp_path / "fix.csv").write_text(to_csv(left_out(data)))
    recipe = tmp_path / "small.toml"
    recipe.write_text("size = 16\nbatch_size = 4\nepochs = 1\n[network]\nwidths = [4]\nblocks = [1]\n")
    out = tmp_path / "run"
    command = ("train", data, "--out", out, "--recipe", recipe)
    code, _, err = run(*command, "--exclude", tmp_path / "fix.csv")
    assert code == 0, err
    about = json.loads((out / "run.json").read_text())
    assert (about["samples"]["train"], about["left_out"]["excluded"]) == (6, 1)
    again = load_training_data(data, input_spec(load_recipe(recipe)), out / "cache", without=out / EXCLUDED_FILE)
    assert again.fingerprint == about["data_fingerprint"]
    code, _, err = run("export", out, "--data", data, "--out", tmp_path / "bundle.onnx")
    assert (code, "is not what" in err, "too few to calibrate" in err) == (2, False, True), (
        err
    )  # past the data, to the crop
    code, _, err = run(*command)  # without the list it is another data set
    assert code == 2
    assert "data_fingerprint" in err


def test_faces_are_looked_for_in_tight_crops_and_in_photos(astronaut: Path, group: Path, tmp_path: Path):
    photo = cv2.imread(str(astronaut))
    face = next(iter(make_detector("haar").detect(photo))).box_xyxy
    x1, y1, x2, y2 = map(int, face)
    put(tmp_path / "a/crop.png", cv2.cvtColor(cv2.resize(photo[y1:y2, x1:x2], (48, 48)), cv2.COLOR_BGR2RGB))
    (tmp_path / "b").mkdir()
    (tmp_path / "b/group.jpg").write_bytes(group.read_bytes())
    put(tmp_path / "b/none.png", drawn(3))
    found = audit(open_splits(tmp_path), detector=make_detector("haar"))
    assert found.faces is not None
    assert found.faces.looked_at == 3
    assert [p.sample.path.name for p in found.faces.missing] == ["none.png"]
    assert to_leave_out(found, labels=True) == {}


def test_a_sample_of_faces_is_spread_over_all(data: Path):
    found = audit(open_splits(data), detector=StubDetector(), face_limit=5)
    assert found.faces is not None
    assert found.faces.looked_at == 5
    assert [p.sample.path.stem for p in found.faces.missing] == ["0", "2", "4", "6", "8"]
    seen = audit(open_splits(data), detector=StubDetector([Face((0, 0, 9, 9), 0.9)]))
    assert seen.faces is not None
    assert (seen.faces.looked_at, seen.faces.missing) == (10, ())


def lit(root: Path, split: str, wrong: int) -> Path:
    """40 pictures whose brightness tells the tiny model's class, `wrong` of them in the other folder."""
    rng = np.random.default_rng(len(split))
    for i in range(40):
        bright, lies = i % 2, i < wrong
        image = np.clip(rng.normal(225 if bright else 30, 12, (48, 48)), 0, 255).astype(np.uint8)
        put(root / split / ("happy" if bright != lies else "sad") / f"{i:02}.png", image)
    return root


def test_labels_that_the_model_contradicts(tiny_bundle: Bundle, tmp_path: Path):
    lit(tmp_path / "data", "train", 6)
    lit(tmp_path / "data", "validation", 4)
    splits = open_splits(tmp_path / "data")
    found = audit(splits, session=Session(tiny_bundle))
    assert found.labels is not None
    assert (found.labels.split, found.labels.checked) == ("validation", 40)
    assert sorted(w.picture.sample.path.stem for w in found.labels.found) == ["00", "01", "02", "03"]
    assert all(w.suggested != w.picture.label for w in found.labels.found)
    assert all(w.probability_of_suggested > w.probability_of_label for w in found.labels.found)
    assert to_leave_out(found) == {}
    assert len(to_leave_out(found, labels=True)) == 4
    assert not any("trained" in line for line in found.remarks)
    seen = audit(splits, session=Session(tiny_bundle), labels_in="train")
    assert seen.labels is not None
    assert (seen.labels.split, len(seen.labels.found)) == ("train", 6)
    assert any("may have been trained on them" in line for line in seen.remarks)


def test_labels_that_cannot_be_checked_cost_nothing_else(
    tiny_bundle: Bundle, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    other = tmp_path / "other"
    for name in ("cat", "dog"):
        put(other / f"validation/{name}/0.png", drawn(len(name) + ord(name[0])))
    found = audit(open_splits(other), session=Session(tiny_bundle))
    assert found.labels is None
    assert "Labels were not checked" in found.remarks[0]
    found = audit(open_splits(data)[:1], session=Session(tiny_bundle))
    assert "neither a validation nor a test split" in found.remarks[0]
    monkeypatch.setitem(sys.modules, "cleanlab.filter", None)
    found = audit(open_splits(data), session=Session(tiny_bundle))
    assert "pip install 'mien[audit]'" in found.remarks[0]


def test_every_layout_is_read(data: Path, tmp_path: Path):
    put(data / "train/happy/leak.png", drawn(6))
    for split, alias in (("train", "training"), ("validation", "val")):
        (data / split).rename(data / alias)
    assert left_out(data) == {"training/happy/leak.png": "same pixels as val/happy/6.png"}
    flat = look(data / "training")
    assert list(flat.balance) == ["all"]
    table = tmp_path / "set.csv"
    rows = [(p.relative_to(tmp_path).as_posix(), p.parent.name, p.parts[-3]) for p in sorted(data.rglob("*.png"))]
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "split"), *rows])
    assert left_out(table) == {"data/training/happy/leak.png": "same pixels as data/val/happy/6.png"}
    table.write_text(table.read_text().replace(",val", ",holdout"))
    with pytest.raises(DatasetError, match=r"line 9: split 'holdout': expected train, validation, test"):
        open_splits(table)


def test_json_is_valid_and_complete(data: Path, tmp_path: Path, run: Run, tiny_bundle: Bundle):
    put(data / "train/happy/leak.png", drawn(6))
    put(data / "train/happy/mirrored.png", np.fliplr(drawn(7)))
    target = tmp_path / "audit.json"
    assert run("audit", data, "--model", tiny_bundle.path, "--detector", "haar", "--json", target)[0] == 0
    document = json.loads(target.read_text(), parse_constant=pytest.fail)
    assert (document["schema"], document["schema_version"]) == ("mien.audit", 1)
    assert document["splits"][0] == {"name": "train", "classes": {"happy": 5, "sad": 3}}
    assert document["identical"][0]["pictures"] == [
        {"path": "train/happy/leak.png", "split": "train", "label": "happy"},
        {"path": "validation/happy/6.png", "split": "validation", "label": "happy"},
    ]
    assert document["near"][0]["turn"] == "mirrored"
    assert document["faces"]["looked_at"] == 12
    assert document["labels"]["checked"] == 4
    counted = {row["finding"]: row["pictures"] for row in document["summary"]}
    assert counted["of validation that stand in train too"] == 1
    assert counted["nearly identical across splits"] == 2


def test_the_page_is_whole_and_small(tmp_path: Path, tiny_bundle: Bundle):
    rng = np.random.default_rng(0)
    lit(tmp_path, "validation", 12)
    for i in range(70):  # color noise: what compresses worst
        noise = rng.integers(0, 256, (48, 48, 3)).astype(np.uint8)
        put(tmp_path / f"train/happy/<{i}>.png", noise)
        put(tmp_path / f"train/sad/{i}.png", noise if i % 2 else np.fliplr(noise))
        put(tmp_path / f"validation/happy/n{i}.png", noise)
        put(tmp_path / f"validation/sad/b{i}.png", np.full((48, 48), i, np.uint8))
    (tmp_path / "train/sad/torn.png").write_bytes(b"GIF89a")
    found = audit(open_splits(tmp_path), session=Session(tiny_bundle), detector=StubDetector())
    page = audit_to_html(found)
    assert len(page.encode()) < 3_000_000
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "<script" not in page
    assert "<0>" not in page
    assert "train/<wbr>happy/<wbr>&lt;" in page
    for title in (
        "The same pixels in two splits",
        "Nearly the same under two labels",
        "Blank",
        "No face",
        "Unreadable",
    ):
        assert title in page
    assert page.count("data:image/png") > 100
    assert "torn.png" in page


def test_the_text_says_what_was_not_looked_for(data: Path):
    text = audit_to_text(look(data))
    assert text.startswith(f"{data}: 10 pictures\n")
    assert "face" not in text
    assert json.loads(audit_to_json(look(data)))["faces"] is None


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nowhere"], "found nothing"),
        (["empty"], "expected one folder per class"),
        (["bad"], "none of 2 pictures can be read"),
        (["good", "--split-for-labels", "test"], "no split 'test' to check labels in, only train"),
        (["good", "--model", "none.onnx"], "no model called"),
        (["good", "--detector", "magic"], "unknown detector"),
        (["good", "--faces", "none", "--no-labels", "--json", "good/train/a/0.png/x.json"], "cannot be made"),
    ],
)
def test_wrong_use_is_refused(args: list[str], message: str, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for name in "ab":
        (tmp_path / f"bad/{name}").mkdir(parents=True)
        (tmp_path / f"bad/{name}/x.png").write_bytes(b"no picture")
        put(tmp_path / f"good/train/{name}/0.png", drawn(ord(name)))
    code, _, err = run("audit", *args)
    assert code == 2
    assert message in err


SQUARES = arrays.arrays(np.uint8, (SIDE_PX, SIDE_PX), elements=st.integers(0, 255))


@given(SQUARES, st.integers(0, 7))
def test_a_picture_is_found_again_however_it_is_turned(square: np.ndarray, turn: int):
    assume(np.ptp(square) > 0)
    both = np.stack([square, turned(square[None], turn)[0]])
    pairs = near_pairs(both, np.array([0, 1]), np.array([0, 1]))
    ((first, second, correlation, found),) = pairs.rows()
    assert (first, second) == (0, 1)
    assert correlation == pytest.approx(1)
    np.testing.assert_array_equal(turned(both[1:], found)[0], square)


@given(SQUARES)
def test_a_thumbnail_of_a_thumbnail_is_itself(square: np.ndarray):
    np.testing.assert_array_equal(thumbnail(np.repeat(square[..., None], 3, axis=2)), square)


def test_a_pixel_key_knows_shape_and_pixels():
    flat = np.zeros((4, 6, 3), np.uint8)
    other = flat.copy()
    other[3, 5, 2] = 1
    assert len({pixel_key(flat), pixel_key(flat.reshape(6, 4, 3)), pixel_key(other)}) == 3


def test_one_of_a_kind_and_a_data_set_called_dot_have_their_words(data: Path, monkeypatch: pytest.MonkeyPatch):
    put(data / "train/sad/twin.png", drawn(6))  # the same pixels as validation/happy/6.png
    put(data / "train/happy/mirrored.png", np.fliplr(drawn(7)))
    monkeypatch.chdir(data)
    found = look(Path())
    for words in (audit_to_text(found), audit_to_html(found)):
        assert "1 pair" in words
        assert "1 picture" in words
        assert not re.search(r"\b1 (pairs|pictures|times)\b", words)
    assert audit_to_text(found).startswith("data: 12 pictures\n")
    assert "<h1>Audit of data</h1>" in audit_to_html(found)
    assert json.loads(audit_to_json(found))["data"]["path"] == "."
