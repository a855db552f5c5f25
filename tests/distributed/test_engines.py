"""Ray, the command line, and record batches: the rows are the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mien.batch import Job
from mien.distributed import RayEngine, batch_schema, read_batch, score
from mien.errors import MediaError
from tests.distributed.conftest import SHARD, ordered, rows_in

pa = pytest.importorskip("pyarrow")
Predicted = Callable[[Path, Job, Path], list[dict[str, Any]]]
Mien = Callable[..., tuple[int, str, str]]


def test_ray_gives_the_rows_of_predict(photos: Path, tiny: Job, tmp_path: Path, predicted: Predicted):
    pytest.importorskip("ray")
    totals = score(str(photos), str(tmp_path / "out"), tiny, engine=RayEngine(workers=1), shard_keys=SHARD)
    assert (totals.pictures, totals.failed) == (15, 1)
    assert rows_in(tmp_path / "out") == predicted(photos, tiny, tmp_path / "rows.parquet")


def test_a_batch_of_paths_or_of_bytes(photos: Path, tiny: Job):
    paths = sorted(str(path) for path in photos.rglob("*") if path.is_file())
    rows = read_batch(pa.RecordBatch.from_pydict({"path": paths}), tiny)
    assert rows.schema == batch_schema(tiny)
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
    assert mien("predict", photos, *options, "--json")[0] == 2
    assert mien("predict", photos, "--engine", "local")[0] == 2
