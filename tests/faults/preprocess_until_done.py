"""Make an atlas, in a process that a test may kill: COUNTS GENOME OUT."""

from __future__ import annotations

import sys
from dataclasses import replace

from atlasstore.atlas.writer import ArraySizes
from atlasstore.preprocess.plan import plan_preprocess
from atlasstore.transpose import memory_plan

if __name__ == "__main__":
    memory_plan._CELLS_PER_SPAN = 24  # many units, so that a kill meets each kind of them
    memory_plan._MOST_PER_RANGE = 200
    counts, genome, out = sys.argv[1:]
    plan = plan_preprocess(counts, genome=genome, out=out, window_bp=192, min_cell_fraction=0.05)
    replace(plan, sizes=ArraySizes(chunk_bytes=4 * 792, sequence_shard_bytes=8 * 792)).run()
