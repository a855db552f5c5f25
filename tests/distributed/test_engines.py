"""Ray, the command line, and record batches: the rows are the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mien.batch import Job
from mien.distributed import RayEngine, batch_schema, read_batch, read_shards
from mien.errors import MediaError
from tests.distributed.conftest import SHARD, Deadly, ordered, rows_in

pa = pytest.importorskip("pyarrow")
Predicted = Callable[[Path, Job, Path], list[dict[str, Any]]]
Mien = Callable[..., tuple[int, str, str]]


def test_two_workers_of_ray_outlive_kills_and_give_the_rows_of_predict(
    deadly: Deadly, photos: Path, tiny: Job, tmp_path: Path, predicted: Predicted
):
    pytest.importorskip("ray")
    root = deadly("once.png")  # kills the first worker that reads it: the shard is read again by another
    totals = read_shards(str(root), str(tmp_path / "out"), tiny, engine=RayEngine(workers=2), shard_keys=SHARD)
    assert list(tmp_path.glob("killed*"))
    assert (totals.pictures, totals.failed, totals.shards) == (16, 1, 5)
    rows = rows_in(tmp_path / "out")
    assert rows == predicted(root, tiny, tmp_path / "rows.parquet")
    assert any("once.png" in row["source"] for row in rows)


def test_a_batch_of_paths_or_of_bytes(photos: Path, tiny: Job):
    paths = sorted(str(path) for path in photos.rglob("*") if path.is_file())
    rows = read_batch(pa.RecordBatch.from_pydict({"path": paths}), tiny)
    assert rows.schema == batch_schema(tiny)
    chunked = pa.chunked_array([paths[:2], paths[2:]])  # as a pandas part of Dask comes
    assert read_batch(pa.table({"path": chunked}), tiny).equals(rows)
    held = [Path(path).read_bytes() for path in paths]
    same = read_batch(pa.RecordBatch.from_pydict({"path": paths, "content": held}), tiny)
    assert ordered(same.to_pylist()) == ordered(rows.to_pylist())
    assert len([row for row in rows.to_pylist() if row["error"]]) == 1
    with pytest.raises(MediaError, match="no column of pictures"):
        read_batch(pa.RecordBatch.from_pydict({"photo": paths}), tiny)


def test_the_command(mien: Mien, photos: Path, tiny: Job, tmp_path: Path, predicted: Predicted):
    options = ("--engine", "local", "--model", tiny.model, "--detector", "whole", "--out", tmp_path / "out")
    code, _, err = mien("predict", photos, *options)
    assert code == 1
    assert "15 pictures, 15 faces, 1 failed; 1 shards in" in err
    assert rows_in(tmp_path / "out") == predicted(photos, tiny, tmp_path / "rows.parquet")
    code, _, err = mien("predict", photos, *options, "--min-score", 0.5)
    assert code == 2
    assert "min_score was null, is 0.5" in err
    assert mien("predict", photos, *options, "--resume")[0] == 1  # what a run in shards does anyway
    code, _, err = mien("predict", photos, *options, "--start", 1)
    assert code == 2
    assert "clip was" in err


def test_no_option_is_passed_over(mien: Mien, photos: Path, tiny: Job, tmp_path: Path):
    options = ("--engine", "local", "--model", tiny.model, "--detector", "whole", "--out", tmp_path / "out")
    for name, *value in (
        ["--json"], ["--blur-faces"], ["--annotate", tmp_path / "drawn"], ["--summary"], ["--no-thumbnails"],
        ["--dedupe"], ["--profile"], ["--overwrite"], ["--threads", 2], ["--ray-address", "auto"],
        ["--color", "gray"], ["--every", 1, "--fps", 2], ["--column", "key"],
    ):  # fmt: skip
        code, _, err = mien("predict", photos, *options, name, *value)
        assert code == 2, name
        assert name.lstrip("-") in err.replace("\n", " "), name
    assert "give --workers" in " ".join(mien("predict", photos, *options, "--threads", 2)[2].replace("│", " ").split())
    assert not (tmp_path / "out/rows").exists()
    assert mien("predict", photos, "--engine", "local")[0] == 2
