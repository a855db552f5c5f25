"""Runs: the rows of `mien predict`, whole or not at all, through kills, poison, and other people's folders."""

from __future__ import annotations

import gzip
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mien.batch import Job
from mien.distributed import FinishedShard, LocalEngine, WorkerRun, make_plan, read_shard, read_shards, try_read_shard
from mien.distributed.object_store import ObjectStore
from mien.distributed.plan import read_shard_keys
from mien.distributed.sources import PictureKey, list_source
from mien.distributed.stores import open_store
from mien.errors import MediaError, OutputError, StoreError
from mien.media import Clip
from mien.model.prior import Prior
from tests.distributed.conftest import SHARD, Deadly, ordered, rows_in

pytest.importorskip("pyarrow")
Predicted = Callable[[Path, Job, Path], list[dict[str, Any]]]
S3 = Callable[[str], str]


class Here:
    """An engine that scores in this process, the last shard first."""

    def __init__(self, most: int = 10**9) -> None:
        self.most = most
        self.scored: list[int] = []

    def map(self, work: WorkerRun, shards: Iterable[int]) -> Iterator[FinishedShard]:
        for shard in sorted(shards, reverse=True)[: self.most]:
            self.scored.append(shard)
            yield try_read_shard(work, shard)


class Notes:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int, int | None, str]] = []

    def update(self, what: str, done: int, total: int | None = None, note: str = "") -> None:
        self.told.append((what, done, total, note))


def test_rows_are_those_of_predict(photos: Path, tiny: Job, tmp_path: Path, predicted: Predicted):
    notes = Notes()
    out = tmp_path / "out"
    totals = read_shards(str(photos), str(out), tiny, engine=Here(), shard_keys=SHARD, progress=notes)
    assert (totals.shards, totals.pictures, totals.faces, totals.failed, totals.rows) == (4, 15, 15, 1, 16)
    rows = rows_in(out)
    assert rows == predicted(photos, tiny, tmp_path / "rows.parquet")
    assert {Path(row["source"]).name for row in rows if row["error"]} == {"broken.jpg"}
    assert "new\nline #1.png" in {Path(row["source"]).name for row in rows}
    success = json.loads((out / "_SUCCESS.json").read_text())
    assert (success["keys"], success["rows"], success["failed"]) == (16, 16, 1)
    assert sum(file["rows"] for file in success["files"].values()) == 16
    assert sorted(path.name for path in (out / "rows").iterdir()) == [f"{n:08}.parquet" for n in range(4)]
    assert not (out / "attempts").exists() or not any((out / "attempts").iterdir())
    what, done, total, note = notes.told[-1]
    assert (what, done, total) == ("reading", 16, 16)
    assert "shard 4/4" in note
    assert "15 faces" in note


def test_local_workers_give_the_same_and_a_second_call_does_nothing(
    photos: Path, tiny: Job, tmp_path: Path, predicted: Predicted, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(photos.parent)
    source = photos.name  # a relative path
    totals = read_shards(source, str(tmp_path / "out"), tiny, engine=LocalEngine(2), shard_keys=SHARD)
    assert (totals.pictures, totals.failed, totals.resumed) == (15, 1, 0)
    assert rows_in(tmp_path / "out") == predicted(Path(source), tiny, tmp_path / "rows.parquet")
    before = (tmp_path / "out/_SUCCESS.json").read_bytes()
    engine = Here()
    again = read_shards(source, str(tmp_path / "out"), tiny, engine=engine)
    assert (again.shards, again.resumed, again.rows, engine.scored) == (4, 4, 16, [])
    assert (tmp_path / "out/_SUCCESS.json").read_bytes() == before


def test_a_run_goes_on_with_what_is_missing(photos: Path, tiny: Job, tmp_path: Path, predicted: Predicted):
    out = str(tmp_path / "out")
    plan = make_plan(str(photos), out, tiny, shard_keys=SHARD)
    first, second = read_shard(plan.work, 2), read_shard(plan.work, 2)
    assert replace(first, seconds=0) == replace(second, seconds=0)  # the second put lost, and tells what is there
    engine = Here()
    totals = read_shards(str(photos), out, tiny, engine=engine, shard_keys=999)
    assert engine.scored == [3, 1, 0]
    assert totals.resumed == 1
    assert rows_in(tmp_path / "out") == predicted(photos, tiny, tmp_path / "rows.parquet")


def test_large_photos_are_decoded_as_predict_decodes_them(group: Path, tmp_path: Path, predicted: Predicted):
    folder = tmp_path / "large"
    folder.mkdir()
    Image.open(group).resize((2360, 1024)).save(folder / "group.jpg")
    job = Job("default", "yunet", threads=1)
    rows: dict[bool, list[dict[str, Any]]] = {}
    for full_size in (False, True):
        out, how = tmp_path / f"out-{full_size}", replace(job, full_size=full_size)
        read_shards(str(folder), str(out), how, engine=Here())
        rows[full_size] = rows_in(out)
        assert rows[full_size] == predicted(folder, how, tmp_path / f"{full_size}.parquet")
    assert rows[True] != rows[False]
    with pytest.raises(OutputError, match="holds another run: full_size was false, is true"):
        read_shards(str(folder), str(tmp_path / "out-False"), how, engine=Here())


def test_the_command_hands_its_choices_to_the_engine(
    mien: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, photos: Path, tmp_path: Path
):
    jobs: list[Job] = []
    monkeypatch.setattr("mien.cli.predict.predict_shards", lambda sources, out, job, *rest: jobs.append(job))
    options = ("--engine", "local", "--full-size", "--turned", "--device", "cpu", "--truncated", "--fps", 5)
    assert mien("predict", photos, "--out", tmp_path / "out", *options)[0] == 0
    (job,) = jobs
    assert (job.full_size, job.turned, job.device, job.limits.truncated, job.threads) == (True, True, "cpu", True, 1)
    assert job.clip.every_s == 0.2


def test_another_run_is_refused_with_the_difference(photos: Path, tiny: Job, tmp_path: Path):
    out = str(tmp_path / "out")
    make_plan(str(photos), out, tiny)
    with pytest.raises(OutputError, match=r"holds another run: detector was \"whole\", is \"haar\""):
        read_shards(str(photos), out, replace(tiny, detector="haar"), engine=Here())
    with pytest.raises(OutputError, match="model_sha256 was"):
        read_shards(str(photos), out, replace(tiny, model="small"), engine=Here())
    with pytest.raises(OutputError, match=r"prior was null, is .*\"sad\": 1"):
        make_plan(str(photos), out, replace(tiny, prior=Prior("mine", {"sad": 1, "happy": 1, "neutral": 1})))
    with pytest.raises(OutputError, match="clip was"):
        read_shards(str(photos), out, replace(tiny, clip=Clip(1.0)), engine=Here())
    with pytest.raises(OutputError, match="source was"):
        read_shards(str(photos / "below"), out, tiny, engine=Here())
    make_plan(str(photos), out, replace(tiny, threads=7))  # changes no row
    (tmp_path / "other/rows").mkdir(parents=True)
    (tmp_path / "other/rows/x.parquet").write_text("")
    with pytest.raises(OutputError, match="no plan that they belong to"):
        make_plan(str(photos), str(tmp_path / "other"), tiny)
    (tmp_path / "odd/plan").mkdir(parents=True)
    (tmp_path / "odd/plan/run.json").write_text("[1")
    with pytest.raises(OutputError, match="not the plan of a run"):
        make_plan(str(photos), str(tmp_path / "odd"), tiny)


def test_rows_that_are_damaged_are_named(photos: Path, tiny: Job, tmp_path: Path):
    out = tmp_path / "out"
    make_plan(str(photos), str(out), tiny, shard_keys=SHARD)
    (out / "rows").mkdir()
    (out / "rows/00000001.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(OutputError, match=r"00000001.parquet: not the rows of a shard .*remove this file"):
        read_shards(str(photos), str(out), tiny, engine=Here())


def test_a_worker_without_the_model_gets_it_by_its_hash(
    photos: Path, tiny: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    model = tmp_path / "mine.onnx"
    shutil.copy(tiny.model, model)
    out = tmp_path / "out"
    job = replace(tiny, model=str(model))
    plan = make_plan(str(photos), str(out), job, shard_keys=SHARD)
    model.unlink()
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *a, **k: str(tmp_path / "cache"))
    from mien.distributed import work

    work._recognizer.cache_clear()
    assert read_shard(plan.work, 0).rows == SHARD
    kept = tmp_path / "cache/shared" / plan.work.model.sha256 / "mine.onnx"
    assert kept.stat().st_size > 0
    kept.write_bytes(b"altered")  # taken again
    work._recognizer.cache_clear()
    assert read_shard(plan.work, 1).rows == SHARD
    shared = out / "plan/files" / plan.work.model.sha256
    shared.write_bytes(b"altered")
    kept.unlink()
    work._recognizer.cache_clear()
    assert "the file was altered" in str(try_read_shard(plan.work, 2).error)
    assert "install the same version" in str(try_read_shard(replace(plan.work, version="0.0"), 2).error)


def test_shards_that_cannot_be_scored_are_tried_again_and_named(photos: Path, tiny: Job, tmp_path: Path):
    out = tmp_path / "out"
    plan = make_plan(str(photos), str(out), tiny, shard_keys=SHARD)
    gone = out / "plan" / plan.work.plan / "00000003.parquet"
    gone.unlink()
    engine = Here()
    told: list[str] = []
    with pytest.raises(StoreError, match=r"1 of 4 shards could not be scored \(shard 3: .*is gone"):
        read_shards(str(photos), str(out), tiny, engine=engine, tell=told.append)
    assert engine.scored == [3, 2, 1, 0, 3, 3]
    assert len(told) == 3
    assert not (out / "_SUCCESS.json").exists()


# --- kills ------------------------------------------------------------------------------------------------------------


def test_a_picture_that_kills_its_worker_becomes_an_error_row(
    deadly: Deadly, photos: Path, tiny: Job, tmp_path: Path, predicted: Predicted
):
    out, poisonous = tmp_path / "out", deadly("poison.png")
    totals = read_shards(str(poisonous), str(out), tiny, engine=LocalEngine(2), shard_keys=9)
    assert (totals.pictures, totals.failed) == (15, 2)
    rows = rows_in(out)
    killed = [row for row in rows if "poison" in row["source"]]
    assert len(killed) == 1
    assert "killed the process" in killed[0]["error"]
    same = [{**row, "source": row["source"].replace(str(poisonous), str(photos))} for row in rows if row not in killed]
    same = [{**row, "error": row["error"] and row["error"].replace(str(poisonous), str(photos))} for row in same]
    assert ordered(same) == predicted(photos, tiny, tmp_path / "rows.parquet")


DRIVER = """
import sys
from mien.batch import Job
from mien.distributed import LocalEngine, read_shards
if __name__ == "__main__":
    read_shards(sys.argv[1], sys.argv[2], Job(sys.argv[3], "whole"), engine=LocalEngine(2), shard_keys=2)
"""


def test_a_killed_driver_goes_on(photos: Path, tiny: Job, tmp_path: Path, predicted: Predicted):
    out = tmp_path / "out"
    (tmp_path / "driver.py").write_text(DRIVER)
    command = [sys.executable, str(tmp_path / "driver.py"), str(photos), str(out), tiny.model]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        while not list(out.glob("rows/*.parquet")):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert not (out / "_SUCCESS.json").exists()
    totals = read_shards(str(photos), str(out), tiny, engine=Here())
    assert totals.resumed > 0
    assert rows_in(out) == predicted(photos, tiny, tmp_path / "rows.parquet")


# --- sources ----------------------------------------------------------------------------------------------------------


def test_a_bucket_to_a_bucket(s3: S3, photos: Path, tiny: Job, tmp_path: Path, predicted: Predicted):
    bucket = ObjectStore(s3("photos"))
    files = [path for path in photos.rglob("*") if path.is_file() and "\n" not in path.name]
    for path in files:
        bucket.create(f"2025/{path.relative_to(photos)}", path.read_bytes())
    bucket.create("2025/readme.txt", b"not a picture")
    bucket.create("2025/empty.jpg", b"")
    out = f"{s3('results')}/run"
    plan = make_plan("s3://photos/2025", out, tiny, shard_keys=SHARD)
    bucket.delete("2025/below/13.png")  # after planning
    totals = read_shards("s3://photos/2025", out, tiny, engine=Here())
    assert (plan.keys, totals.pictures, totals.failed, totals.rows) == (16, 13, 3, 16)
    assert totals.bytes_read > 0
    local = tmp_path / "local"
    (local / "rows").mkdir(parents=True)
    store = open_store(out)
    for name in store.names("rows"):
        (local / "rows" / name).write_bytes(store.read(f"rows/{name}"))
    rows = rows_in(local)
    errors = {row["source"]: row["error"] for row in rows if row["error"]}
    assert set(errors) == {f"s3://photos/2025/{name}" for name in ("broken.jpg", "empty.jpg", "below/13.png")}
    assert "0 bytes" in errors["s3://photos/2025/empty.jpg"]
    assert "removed since the run was planned" in errors["s3://photos/2025/below/13.png"]
    expected = predicted(photos, tiny, tmp_path / "rows.parquet")
    wanted = {row["source"].replace(str(photos), "s3://photos/2025"): row for row in expected if not row["error"]}
    for row in rows:
        if not row["error"]:
            assert {**row, "source": ""} == {**wanted[row["source"]], "source": ""}
    assert json.loads(store.read("_SUCCESS.json"))["rows"] == 16


def test_an_object_is_refused_by_its_size(s3: S3, tiny: Job, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    bucket = ObjectStore(s3("sizes"))
    bucket.create("large.png", b"x" * 5000)
    monkeypatch.setattr("mien.distributed.shard.MAX_PICTURE_BYTES", 4999)
    read_shards("s3://sizes", str(tmp_path / "out"), tiny, engine=Here())
    (row,) = rows_in(tmp_path / "out")
    assert "5,000 bytes are more than the limit of 4,999" in row["error"]


def test_five_gigabytes_are_refused_before_they_are_read(
    tiny: Job, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, huge_objects: str
):
    monkeypatch.setenv("AWS_ENDPOINT", huge_objects)  # a store that says how large, and sends nothing
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    open_store.cache_clear()
    table = tmp_path / "keys.csv"
    table.write_text("key\ns3://huge/large.jpg\n")  # nobody knows its size before it is asked for
    read_shards(str(table), str(tmp_path / "out"), tiny, engine=Here())
    open_store.cache_clear()
    (row,) = rows_in(tmp_path / "out")
    assert "5,368,709,120 bytes are more than the limit" in row["error"]


def test_wrong_rows_of_a_table_become_error_rows(s3: S3, photos: Path, tiny: Job, tmp_path: Path):
    import pyarrow as pa
    from pyarrow import parquet

    s3("mixed")
    ObjectStore("s3://mixed").create("good.png", (photos / "00.png").read_bytes())
    wrong = {
        "s3://mixed/new\nline.jpg": "a key that cannot be asked for",
        "s3://mixed/a//b.jpg": "a key that cannot be asked for",
        "s3://mixed/../b.jpg": "a key that cannot be asked for",
        "s3://mixed/gone.jpg": "no such object",
        "s3://no-such-bucket/a.jpg": "there is no such bucket",
        "s3://new\nline/a.jpg": "",
        "s3:///a.jpg": "",
        "s3://": "",
        "ftp://there/a.jpg": "not an address that is read",
        "none\nhere.jpg": "no such file",
    }
    parquet.write_table(pa.table({"key": [*wrong, "s3://mixed/good.png"]}), tmp_path / "keys.parquet")
    totals = read_shards(str(tmp_path / "keys.parquet"), str(tmp_path / "out"), tiny, engine=Here())
    assert (totals.pictures, totals.failed) == (1, len(wrong))
    errors = {row["source"]: row["error"] or "" for row in rows_in(tmp_path / "out")}
    for key, error in wrong.items():
        assert error in errors.get(key, errors.get(str(tmp_path / key))), key
        assert errors.get(key, errors.get(str(tmp_path / key))), key


def test_a_bucket_for_the_results_that_is_not_there(s3: S3, photos: Path, tiny: Job):
    with pytest.raises(StoreError, match=r"s3://nowhere/run.*no such bucket"):
        read_shards(str(photos), "s3://nowhere/run", tiny, engine=Here())


def test_nothing_to_read_is_said(s3: S3, tmp_path: Path):
    ObjectStore(s3("other")).create("notes.txt", b"")
    with pytest.raises(MediaError, match=r"no pictures under this prefix.* found 1 other objects"):
        list(list_source("s3://other"))
    with pytest.raises(MediaError, match="no pictures under this prefix"):
        list(list_source("s3://other/empty"))
    with pytest.raises(StoreError, match="no such bucket"):
        list(list_source("s3://elsewhere/photos"))
    with pytest.raises(MediaError, match="no pictures or videos"):
        list(list_source(str(tmp_path)))
    with pytest.raises(MediaError, match="no such folder"):
        list(list_source(str(tmp_path / "none")))
    with pytest.raises(MediaError, match="not an object store that is known"):
        list(list_source("ftp://there/photos"))
    with pytest.raises(MediaError, match="only a table"):
        list(list_source(str(tmp_path), "key"))


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_a_table_of_keys(suffix: str, photos: Path, tiny: Job, tmp_path: Path, predicted: Predicted):
    import pyarrow as pa
    from pyarrow import csv, parquet

    keys = [str(path.relative_to(photos.parent)) for path in sorted(photos.rglob("*")) if path.is_file()]
    table = pa.table({"person": list(range(len(keys) + 2)), "path": [*keys, None, "photos-none.jpg"]})
    file = photos.parent / f"keys-{tmp_path.name}{suffix}"
    if suffix == ".parquet":
        parquet.write_table(table, file)
    else:
        with gzip.open(file, "wb") if suffix == ".csv.gz" else file.open("wb") as out:
            csv.write_csv(table, out)
    totals = read_shards(str(file), str(tmp_path / "out"), tiny, engine=Here(), shard_keys=SHARD)
    assert (totals.pictures, totals.failed) == (15, 3)
    rows = rows_in(tmp_path / "out")
    errors = {row["error"] for row in rows if row["error"]}
    assert any(f"row {len(keys) + 1} has no key" in error for error in errors)
    assert any("photos-none.jpg: no such file" in error for error in errors)
    good = predicted(photos, tiny, tmp_path / "rows.parquet")
    assert [row for row in rows if not row["error"]] == [row for row in good if not row["error"]]
    assert len(list(list_source(str(file), "person"))) == len(keys) + 2
    with pytest.raises(MediaError, match="no column 'photo'; there are person, path"):
        list(list_source(str(file), "photo"))


def test_tables_that_cannot_be_used(tmp_path: Path):
    (tmp_path / "two.csv").write_text("a,b\n1,2\n")
    with pytest.raises(MediaError, match="which column has the keys"):
        list(list_source(str(tmp_path / "two.csv")))
    (tmp_path / "none.csv").write_text("key\n")
    with pytest.raises(MediaError, match="without rows"):
        list(list_source(str(tmp_path / "none.csv")))
    (tmp_path / "bad.parquet").write_bytes(b"nothing")
    with pytest.raises(MediaError, match="cannot be read as a table"):
        list(list_source(str(tmp_path / "bad.parquet")))
    with pytest.raises(MediaError, match="no such file"):
        list(list_source(str(tmp_path / "gone.parquet")))
    (tmp_path / "text.csv").write_text('key\n007\n"a\nb.jpg"\ns3://b/c.jpg\n')
    keys = [key.source for key in list_source(str(tmp_path / "text.csv"))]
    assert keys == [str(tmp_path / "007"), str(tmp_path / "a\nb.jpg"), "s3://b/c.jpg"]


@settings(max_examples=20)
@given(st.lists(st.text(min_size=1).filter(lambda text: "\0" not in text), min_size=1, max_size=30), st.integers(1, 7))
def test_a_plan_gives_back_every_key_in_order(
    tiny: Job, tmp_path_factory: pytest.TempPathFactory, names: list[str], size: int
):
    import pyarrow as pa
    from pyarrow import parquet

    folder = tmp_path_factory.mktemp("plan")
    urls = [f"s3://b/{name}".encode("utf-8", "ignore").decode() for name in names]
    parquet.write_table(pa.table({"key": urls}), folder / "keys.parquet")
    plan = make_plan(str(folder / "keys.parquet"), str(folder / "out"), tiny, shard_keys=size)
    found = [key for shard in range(plan.shards) for key in read_shard_keys(plan.work, shard)]
    assert found == [PictureKey(url) for url in urls]
