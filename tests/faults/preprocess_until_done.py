"""Make an atlas, in a process that a test may kill: COUNTS GENOME OUT."""

from __future__ import annotations

import sys

from atlasstore.atlas import writer
from atlasstore.preprocess.preprocess import preprocess
from atlasstore.transpose import memory_plan

if __name__ == "__main__":
    memory_plan._CELLS_PER_SPAN = 24  # many units, so that a kill meets each kind of them
    memory_plan._MOST_PER_RANGE = 200
    writer._CHUNK_BYTES = 4 * 792
    writer._SEQUENCE_SHARD_BYTES = 8 * 792
    counts, genome, out = sys.argv[1:]
    preprocess(counts, genome=genome, out=out, window_bp=192, min_cell_fraction=0.05)
