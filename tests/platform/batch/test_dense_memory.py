"""What writing a dense table is said to hold, against what was measured of 100,000 peaks."""

from __future__ import annotations

import pytest

from atlasbasset.batch.executor import WorkerPool
from atlasbasset.core.config import TrunkConfig
from atlasbasset.core.inference import embedding_bytes
from atlasbasset.verbs.denoise.genes import averaging_bytes
from atlasbasset.verbs.denoise.work import spanning_bytes, writing_bytes
from atlasstore.zarrio.table_plan import plan_table

N_PEAKS, WIDTH = 100_000, 32


@pytest.mark.parametrize(
    ("dtype", "at_once", "measured_mb"),
    [
        ("float32", 2, 294),
        ("float16", 2, 553),
        ("uint8", 2, 386),
        ("float32", 1, 194),
        ("float16", 1, 351),
        ("uint8", 1, 241),
    ],
)
def test_memory_of_writing_is_what_was_measured(dtype, at_once, measured_mb):
    plan = plan_table("X", (2_000, N_PEAKS), dtype)
    workers = WorkerPool(0 if at_once == 2 else 1)
    found = writing_bytes(plan, N_PEAKS, WIDTH, workers=workers) / 1e6
    assert measured_mb <= found < 1.3 * measured_mb + 13  # the embeddings twice for a moment


def test_one_shard_is_never_two():
    plan = plan_table("X", (10, N_PEAKS), "uint8")
    here, there = (writing_bytes(plan, N_PEAKS, WIDTH, workers=WorkerPool(n)) for n in (0, 1))
    assert here == there == 2 * 4 * N_PEAKS * WIDTH + 7 * 10 * N_PEAKS


def test_memory_of_the_other_stages():
    assert 575e6 < embedding_bytes(TrunkConfig(), 10_000) < 700e6  # 575 MB measured
    assert embedding_bytes(TrunkConfig(), 2) * 128 == embedding_bytes(TrunkConfig(), 256)
    assert spanning_bytes(5_000, N_PEAKS, WIDTH) == 4 * (105_000 * WIDTH + 2 * 4096 * 1024)
    plan = plan_table("X", (5_000, 20_000), "float32")
    tile, means = 256 * (N_PEAKS + 20_000), plan.shard_rows * 20_000
    assert averaging_bytes(plan, N_PEAKS) == 4 * (tile + 2 * means)
