"""Scoring what one machine cannot hold: shards, and engines that only schedule them.

```python
from mien.batch import Job
from mien.distributed import LocalEngine, read_shards

totals = read_shards("s3://photos/2025", "s3://results/2025", Job("default", "yunet"), engine=LocalEngine(8))
```
"""

from __future__ import annotations

from mien.distributed.batches import batch_schema, read_batch
from mien.distributed.engine import Engine, FinishedShard
from mien.distributed.local import LocalEngine
from mien.distributed.plan import Plan, make_plan
from mien.distributed.ray_engine import RayEngine
from mien.distributed.run import Totals, read_shards
from mien.distributed.shard import read_shard, try_read_shard
from mien.distributed.work import WorkerRun

__all__ = [
    "Engine",
    "FinishedShard",
    "LocalEngine",
    "Plan",
    "RayEngine",
    "Totals",
    "WorkerRun",
    "batch_schema",
    "make_plan",
    "read_batch",
    "read_shard",
    "read_shards",
    "try_read_shard",
]
