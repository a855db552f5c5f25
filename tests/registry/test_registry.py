"""Versions, aliases, history: what a promotion promises, also when two come at once."""

from __future__ import annotations

import errno
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.errors import RegistryError
from mien.model.bundle import Bundle, load_bundle
from mien.registry import Reference, Registry, check_candidate, open_registry, parse_reference
from mien.registry import database as database_module
from mien.registry.checks import require

MakeBundle = Callable[..., Bundle]
Run = Callable[..., tuple[int, str, str]]


def add(registry: Registry, bundle: Bundle) -> int:
    return registry.add(bundle)[0].number


def test_versions_count_up_and_the_same_file_is_one_version(registry: Registry, make_bundle: MakeBundle):
    first = make_bundle()
    assert add(registry, first) == 1
    assert add(registry, make_bundle("second")) == 2
    version, new = registry.add(first)
    assert (version.number, new) == (1, False)
    assert [v.number for v in registry.versions("tiny")] == [2, 1]
    assert registry.models() == ["tiny"]


def test_a_version_gives_back_the_bytes_that_were_added(registry: Registry, make_bundle: MakeBundle):
    bundle = make_bundle()
    version, _ = registry.add(bundle, "other", note="why")
    assert registry.bundle(version).model == bundle.model
    assert registry.version(parse_reference("other@1")) == version
    assert version.classes == bundle.manifest.classes
    assert version.note == "why"


def test_an_alias_moves_back_the_way_it_came(registry: Registry, make_bundle: MakeBundle):
    for number in (1, 2, 3):
        add(registry, make_bundle(str(number)))
    for expected, number in ((None, 1), (1, 2), (2, 3)):
        version = registry.version(Reference("tiny", number, None))
        registry.promote(version, expected=expected, why=f"to {number}")
    assert registry.rollback("tiny").to_version == 2
    assert registry.rollback("tiny").to_version == 1
    with pytest.raises(RegistryError, match="version 1 is its first"):
        registry.rollback("tiny")
    assert registry.rollback("tiny", to=3).to_version == 3
    assert registry.version(parse_reference("tiny")).number == 3
    kinds = [event.kind for event in registry.history("tiny")]
    assert kinds == ["rollback"] * 3 + ["promote"] * 3 + ["add"] * 3
    assert registry.history("tiny", 1)[0].from_version == 1


def test_a_canary_keeps_its_share_and_can_end(registry: Registry, make_bundle: MakeBundle):
    add(registry, make_bundle())
    registry.promote(registry.version(parse_reference("tiny@1")), "canary", expected=None, share=0.05)
    assert registry.aliases("tiny")["canary"].share == 0.05
    assert registry.stop("tiny", "canary", why="too slow", who="mien serve").to_version is None
    assert registry.aliases("tiny") == {}
    registry.promote(registry.version(parse_reference("tiny@1")), "canary", expected=None, share=0.1)
    registry.rollback("tiny", "canary")
    assert registry.aliases("tiny") == {}


def test_of_two_that_promote_at_once_one_is_told(registry: Registry, make_bundle: MakeBundle, tmp_path: Path):
    versions = [registry.add(make_bundle(str(number)))[0] for number in range(4)]
    outcomes: list[str] = []
    barrier = threading.Barrier(4)

    def promote(version: Any) -> None:
        other = open_registry(tmp_path / "registry")  # as another process would
        barrier.wait()
        try:
            outcomes.append(other.promote(version, expected=None).kind)
        except RegistryError as error:
            outcomes.append(str(error))
        other.close()

    threads = [threading.Thread(target=promote, args=(version,)) for version in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("promote") == 1
    assert sum("another process moved it meanwhile, from nothing to version" in o for o in outcomes) == 3
    assert [event.kind for event in registry.history("tiny")].count("promote") == 1


def test_four_that_add_at_once_get_four_numbers(registry: Registry, make_bundle: MakeBundle, tmp_path: Path):
    bundles = [make_bundle(str(number)) for number in range(4)]
    numbers: list[int] = []

    def go(bundle: Bundle) -> None:
        numbers.append(add(open_registry(tmp_path / "registry"), bundle))

    threads = [threading.Thread(target=go, args=(bundle,)) for bundle in bundles]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == [1, 2, 3, 4]


def test_an_altered_file_is_never_read(registry: Registry, make_bundle: MakeBundle):
    version, _ = registry.add(make_bundle())
    path = registry.path(version)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(RegistryError, match="the file was altered"):
        registry.bundle(version)
    registry.add(make_bundle())  # adding it again mends it
    assert registry.bundle(version).sealed
    path.unlink()
    with pytest.raises(RegistryError, match="its file is gone"):
        registry.bundle(version)


def test_a_full_disk_leaves_nothing_behind(
    registry: Registry, make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    bundle = make_bundle()
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RegistryError, match=r"No space left on device.*nothing was registered"):
        registry.add(bundle)
    assert [path for path in (tmp_path / "registry/files").rglob("*") if path.is_file()] == []
    assert registry.versions("tiny") == []


def test_a_locked_database_is_told_and_reading_goes_on(
    registry: Registry, make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(database_module, "BUSY_S", 0.05)
    add(registry, make_bundle())
    impatient = open_registry(tmp_path / "registry")
    blocker = sqlite3.connect(tmp_path / "registry/registry.sqlite", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    try:
        assert impatient.version(parse_reference("tiny@1")).number == 1
        with pytest.raises(RegistryError, match="locked by another process"):
            impatient.promote(impatient.version(parse_reference("tiny@1")), expected=None)
    finally:
        blocker.close()
    impatient.promote(impatient.version(parse_reference("tiny@1")), expected=None)


def test_a_bundle_without_a_seal_or_with_a_wrong_name_is_refused(registry: Registry, make_bundle: MakeBundle):
    bundle = make_bundle()
    loose = Bundle(bundle.path, bundle.model, bundle.manifest, bundle.golden, sealed=False)
    with pytest.raises(RegistryError, match="carries no seal"):
        registry.add(loose)
    with pytest.raises(RegistryError, match="expected 1 to 64 letters"):
        registry.add(bundle, "../up")


def test_candidates_are_checked(make_bundle: MakeBundle):
    same, other = make_bundle(), make_bundle("other", classes=("happy", "neutral", "angry"))
    assert all(check.passed for check in check_candidate(same, make_bundle("again")))
    with pytest.raises(RegistryError, match="happy, neutral, sad become happy, neutral, angry"):
        require(check_candidate(other, same), "tiny@2")
    assert "(allowed)" in require(check_candidate(other, same, new_classes=True), "tiny@2")["classes"]


def test_a_candidate_that_is_worse_is_refused(make_bundle: MakeBundle, tmp_path: Path):
    """On black and white squares, the tiny model knows black from white; one with its classes swapped is wrong."""
    import numpy as np
    from PIL import Image

    from mien.dataset import open_dataset

    for label, level in (("happy", 255), ("sad", 0)):
        for number in range(12):
            path = tmp_path / f"data/validation/{label}/{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((48, 48), abs(level - number), np.uint8)).save(path)
    right, wrong = make_bundle(), make_bundle("wrong", classes=("sad", "neutral", "happy"))
    data = open_dataset(tmp_path / "data", "validation")
    with pytest.raises(RegistryError, match="not worse: A serves, B is new: A is right more often than B"):
        require(check_candidate(wrong, right, new_classes=True, data=data), "tiny@2")
    assert "not worse" in require(check_candidate(right, right, data=data), "tiny@1")


@given(st.text(max_size=80))
def test_any_text_is_a_reference_or_a_clear_error(text: str):
    try:
        reference = parse_reference(text)
    except RegistryError:
        return
    assert parse_reference(str(reference)) == reference or reference.alias == "production"


def test_the_command_line_from_adding_to_rolling_back(run: Run, registry: Registry, make_bundle: MakeBundle):
    first, second = make_bundle(), make_bundle("second")
    assert run("registry", "list")[2].startswith("no models in")
    assert run("registry", "add", first.path)[1].startswith("tiny@1")
    assert run("registry", "add", second.path, "--note", "better")[0] == 0
    assert (
        run("registry", "promote", "tiny@1", "--why", "the first")[1] == "promote: tiny@production from nothing to 1\n"
    )
    assert run("registry", "promote", "tiny@2")[0] == 0
    assert "production" in run("registry", "list")[1].splitlines()[1]
    assert run("registry", "rollback", "tiny", "--why", "no")[1] == "rollback: tiny@production from 2 to 1\n"
    assert "(no)" in run("registry", "history", "tiny", "--limit", "1")[1]
    code, out, _ = run("registry", "show", "tiny")
    assert (code, '"aliases": [\n    "production"' in out) == (0, True)


def test_a_model_is_named_by_its_version_wherever_one_is_named(
    run: Run, registry: Registry, make_bundle: MakeBundle, tmp_path: Path
):
    bundle = make_bundle()
    registry.promote(registry.add(bundle)[0], expected=None)
    assert run("verify", "tiny@production")[0] == 0
    assert '"tiny"' in run("show", "tiny@1")[1]
    code, _, err = run("verify", "tiny@7")
    assert (code, err) == (2, "mien: tiny@7: no such version; there are 1 to 1\n")
    assert "there is tiny" in run("predict", "x.jpg", "--model", "tony@production")[2]
    out = tmp_path / "copy.onnx"
    assert run("registry", "get", "tiny@production", "--out", out)[0] == 0
    assert load_bundle(out).model == bundle.model


@pytest.mark.parametrize(
    "words",
    [
        "predict x.jpg --model",
        "evaluate data --model",
        "compare tiny@1 data",
        "compare data",
        "audit data --model",
        "live --model",
        "verify",
        "show",
        "web out --model",
        "registry add",
        "export --out o.onnx --for si100b-bench",
        "trace run --data data",
        "compress --data data --out o.onnx",
        "ensemble tiny@1 --data data --out o.onnx",
        "train data --out run --init",
        "train data --out run --teacher default --teacher",
    ],
)
def test_every_command_that_takes_a_model_takes_a_version(
    run: Run,
    registry: Registry,
    make_bundle: MakeBundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: str,
):
    registry.add(make_bundle())
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    command, *rest = words.split()
    asked = [*rest, "tony@production"] if words.endswith(("--model", "--init", "--teacher", "add")) else None
    if asked is None:  # a positional argument: before `compare`'s data, and before the origin of `trace`
        names = [word for word in rest if word == "tiny@1"]
        asked = [*names, "tony@production", *[word for word in rest if word != "tiny@1"]]
        if words == "compare data":
            asked = ["tony@production", "tiny@1", "data"]
    code, _, err = run(command, *asked)
    assert (code, "no model called 'tony' in" in err, "there is tiny" in err) == (2, True, True), err


def test_paths_and_bundled_names_are_left_as_they_are(tmp_path: Path, registry: Registry, make_bundle: MakeBundle):
    from mien.cli.options import registered_path, registered_paths

    version, _ = registry.add(make_bundle())
    assert registered_path(None) is None
    assert registered_path(Path("default")) == Path("default")
    (tmp_path / "odd@1").mkdir()  # a folder that is really called so
    assert registered_path(tmp_path / "odd@1") == tmp_path / "odd@1"
    assert registered_paths([Path("runs/a"), Path("tiny@1")]) == [Path("runs/a"), registry.path(version)]


def test_wrong_files_are_refused_with_a_reason(run: Run, registry: Registry, make_bundle: MakeBundle, tmp_path: Path):
    data = bytearray(make_bundle().model)
    data[len(data) // 3] ^= 1
    (tmp_path / "altered.onnx").write_bytes(data)
    (tmp_path / "weights.pth").write_bytes(b"PK\x03\x04")
    (tmp_path / "text.onnx").write_bytes(b"hello")
    for name in ("altered.onnx", "weights.pth", "text.onnx"):
        code, _, err = run("registry", "add", tmp_path / name)
        assert (code, registry.models()) == (2, [])
        assert err.startswith("mien: ")


def test_a_bundle_that_lies_about_itself_is_not_added(
    run: Run, registry: Registry, make_bundle: MakeBundle, tmp_path: Path
):
    from mien.model.bundle import write_bundle
    from tests.models import tiny_golden, tiny_manifest, tiny_onnx

    golden = tiny_golden()
    wrong = type(golden)(golden.crops, golden.probabilities[::-1].copy(), golden.tolerance)
    write_bundle(tmp_path / "lies.onnx", tiny_onnx(), tiny_manifest(), wrong)
    code, _, err = run("registry", "add", tmp_path / "lies.onnx")
    assert code == 2
    assert "golden vectors" in err
