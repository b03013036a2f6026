"""Counts as a stream of ranges of cells for dry runs, which keep nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from atlasstore.events import Progress
from atlasstore.transpose.kernels import add_cells_with_peak, kept_depth
from atlasstore.transpose.read_spans import reads

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from atlasstore.events import Subscriber
    from atlasstore.inputs.source import CountsSource
    from atlasstore.transpose.scratch_files import OpenPeaks

__all__ = ["count_open", "depth_among", "read_runs"]


def read_runs(
    sources: Sequence[CountsSource], *, stage: str, positives_per_read: int, on_event: Subscriber
) -> Iterator[OpenPeaks]:
    """Yield the open peaks of every cell of every source once, in order."""
    done, total = 0, sum(len(source.obs) for source in sources)
    for source in sources:
        size = {"n_peaks": len(source.peaks), "positives_per_read": positives_per_read}
        for run in reads(source, 0, len(source.obs), **size):
            yield run
            done += len(run.n_open)
            on_event(Progress(stage, done, total, "cells"))


def count_open(
    sources: Sequence[CountsSource], least: int, *, positives_per_read: int, on_event: Subscriber
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return each cell's open peaks, and in how many cells with `least` of them each is open."""
    per_peak, per_cell = np.zeros(len(sources[0].peaks), np.int64), []
    stage = "counting open peaks"
    for run in read_runs(
        sources, stage=stage, positives_per_read=positives_per_read, on_event=on_event
    ):
        add_cells_with_peak(run.peaks, run.n_open, least, per_peak)
        per_cell.append(run.n_open)
    return _joined(per_cell), per_peak


def depth_among(
    sources: Sequence[CountsSource],
    kept: NDArray[np.bool_],
    *,
    positives_per_read: int,
    on_event: Subscriber,
) -> NDArray[np.int64]:
    """Return each cell's open peaks among the kept ones."""
    parts = []
    stage = "counting kept peaks"
    for run in read_runs(
        sources, stage=stage, positives_per_read=positives_per_read, on_event=on_event
    ):
        depth = np.empty_like(run.n_open)
        kept_depth(run.peaks, run.n_open, kept, depth)
        parts.append(depth)
    return _joined(parts)


def _joined(parts: list[NDArray[np.uint32]]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(0, np.uint32), *parts]).astype(np.int64)
