"""Shards that an earlier run of a job wrote, read again before the job is resumed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from atlasbasset.batch.gather import gather
from atlasstore.results.writer import is_whole
from atlasstore.resume.units import Ranges, Stage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from atlasbasset.batch.executor import WorkerPool
    from atlasbasset.batch.gather import Arrays
    from atlasstore.events import Subscriber
    from atlasstore.resume.units import Unit

__all__ = ["damaged_shards", "written_shards"]

_CHECKS = 256
"""Units at most in which shards are read again."""


def damaged_shards(
    place: str, shards: Sequence[Mapping[str, Any]], *, pool: WorkerPool, on_event: Subscriber
) -> list[int]:
    """Return which shards of the store at `place` are not what `write_rows` returned of them."""
    checked = gather(
        Ranges(len(shards), max(1, len(shards) // _CHECKS)),
        _CheckShards(place, shards),
        pool=pool,
        stage=Stage("checking what an earlier run has written", "shards"),
        on_event=on_event,
    )
    found: list[int] = np.flatnonzero(
        ~np.concatenate([part["is_whole"] for part in checked])
    ).tolist()
    return found


def written_shards(receipt: Any) -> list[Mapping[str, Any]]:
    """Return what `write_rows` returned, wherever it is stored in a receipt."""
    if isinstance(receipt, dict):
        if {"table", "start", "crc32"} <= receipt.keys():
            return [receipt]
        return [found for value in receipt.values() for found in written_shards(value)]
    if isinstance(receipt, list):
        return [found for value in receipt for found in written_shards(value)]
    return []


@dataclass(frozen=True, eq=False)
class _CheckShards:
    """Reads shards again and compares them with what was recorded."""

    place: str
    shards: Sequence[Mapping[str, Any]]

    def __call__(self, unit: Unit) -> Arrays:
        shards = self.shards[unit["start"] : unit["stop"]]
        return {"is_whole": np.array([is_whole(self.place, shard) for shard in shards])}
