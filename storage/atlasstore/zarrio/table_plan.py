"""How a big table of a result is cut into shards: integers only, known before work begins."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from atlasstore.zarrio.blocks import chunk_and_shard, runs

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["TablePlan", "plan_table"]

CHUNK_BYTES = 1 << 20
SHARD_BYTES = 32 << 20
"""Of a chunk and of a shard at most, before compression, where a row is not larger."""


@dataclass(frozen=True, slots=True)
class TablePlan:
    """A table cut along its first axis only: whole rows in a chunk, whole chunks in a shard."""

    name: str
    """Where in the result: ``X``, ``obsm/ism``, ``layers/...``."""
    shape: tuple[int, ...]
    dtype: str
    chunk_rows: int
    """Rows in a chunk, the unit of reading."""
    shard_rows: int
    """Rows in a shard, the unit of writing."""

    @property
    def n_bytes(self) -> int:
        """Bytes before compression."""
        return prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def n_shards(self) -> int:
        """Shards in all."""
        return -(-self.shape[0] // self.shard_rows)

    def shards(self) -> Iterator[tuple[int, int]]:
        """Yield (start, stop) of each shard's rows, 0-based half-open."""
        return runs(self.shape[0], self.shard_rows)


def plan_table(name: str, shape: tuple[int, ...], dtype: str) -> TablePlan:
    """Cut a table into chunks of 1 MB and shards of 32 MB, or one row where a row is larger."""
    row_bytes = max(1, prod(shape[1:]) * np.dtype(dtype).itemsize)
    chunk, shard = chunk_and_shard(
        shape[0], row_bytes, chunk_bytes=CHUNK_BYTES, shard_bytes=SHARD_BYTES
    )
    return TablePlan(name, shape, dtype, chunk, shard)
