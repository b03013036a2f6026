"""Counts as a stream of runs of cells: read from sources, made binary, cut anew into blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from atlasstore.blocks import runs
from atlasstore.events import Progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray
    from scipy.sparse import csr_array

    from atlasstore.events import Subscriber
    from atlasstore.inputs.source import CountsSource

__all__ = ["kept_runs", "read_runs", "regroup"]

_CELLS_PER_READ = 2_048
"""Cells of one read at least; at 10,000 open peaks a cell this is 160 MB."""


def read_runs(
    sources: Sequence[CountsSource], *, stage: str, on_event: Subscriber
) -> Iterator[csr_array]:
    """Yield every cell of every source once, in order, as binary CSR (uint8 ones)."""
    done, total = 0, sum(len(source.obs) for source in sources)
    for source in sources:
        for start, stop in runs(len(source.obs), max(source.cells_per_read, _CELLS_PER_READ)):
            yield _binary(source.read_cells(start, stop))
            done += stop - start
            on_event(Progress(stage, done, total, "cells"))


def _binary(counts: csr_array) -> csr_array:
    """Return open or not: count > 0."""
    ones = np.ones(counts.nnz, np.uint8)
    return sparse.csr_array((ones, counts.indices, counts.indptr), shape=counts.shape)


def kept_runs(
    all_runs: Iterable[csr_array], cells: NDArray[np.bool_], peaks: NDArray[np.bool_]
) -> Iterator[csr_array]:
    """Yield the kept cells' kept peaks of each run; `cells` spans all runs."""
    columns, start = np.flatnonzero(peaks), 0
    for run in all_runs:
        stop = start + run.shape[0]
        rows = np.flatnonzero(cells[start:stop])
        kept = run if len(rows) == run.shape[0] else run[rows]
        yield kept if len(columns) == run.shape[1] else kept[:, columns]
        start = stop


def regroup(matrices: Iterable[csr_array], sizes: Iterable[int]) -> Iterator[csr_array]:
    """Yield the rows of consecutive matrices anew, in groups of the given sizes.

    One matrix and one group are held at a time; the sizes must not ask for more rows than come.
    """
    incoming = iter(matrices)
    matrix, at = next(incoming), 0
    for size in sizes:
        pieces, missing = [], size
        while missing:
            if at == matrix.shape[0]:
                matrix, at = next(incoming), 0
            taken = min(missing, matrix.shape[0] - at)
            pieces.append(matrix[at : at + taken])
            at, missing = at + taken, missing - taken
        yield pieces[0] if len(pieces) == 1 else sparse.vstack(pieces, format="csr")
