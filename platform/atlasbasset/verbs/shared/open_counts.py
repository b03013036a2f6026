"""How many cells of each of several sets are open at each peak, labels streaming."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from atlasstore.events import Progress
from atlasstore.zarrio.blocks import runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from atlasstore.atlas.atlas import Atlas
    from atlasstore.events import Subscriber

__all__ = ["open_counts"]

_READ_PEAKS = 4096


def open_counts(
    atlas: Atlas, set_of_cell: NDArray[np.int64], n_sets: int, *, on_event: Subscriber
) -> Iterator[tuple[int, int, NDArray[np.uint32]]]:
    """Yield runs of peaks [start, stop) and the open cells of each set, uint32 (run, S).

    Parameters
    ----------
    set_of_cell
        (N,): each cell's set, -1 for none.
    """
    stage = "counting open cells"
    on_event(Progress(stage, 0, atlas.n_peaks, "peaks"))
    for start, stop in runs(atlas.n_peaks, _READ_PEAKS):
        counts = np.zeros((stop - start, n_sets), np.uint32)
        for block in atlas.blocks:
            labels = atlas.labels(block.index, start, stop)
            of_pair = set_of_cell[block.start : block.stop][labels.indices]
            row = np.repeat(np.arange(stop - start), np.diff(labels.indptr))
            inside = of_pair >= 0
            at = row[inside] * n_sets + of_pair[inside]
            counts += np.bincount(at, minlength=counts.size).reshape(counts.shape).astype(np.uint32)
        yield start, stop, counts
        on_event(Progress(stage, stop, atlas.n_peaks, "peaks"))
