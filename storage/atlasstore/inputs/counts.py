"""What every reader does to counts and cells before handing them on: check, make canonical.

Also the two parts readers share: barcodes checked for uniqueness, and a source held in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from atlasstore.errors import CountsError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["InMemorySource", "canonical_counts", "cells_table", "check_unique"]

_LARGEST = np.iinfo(np.int32).max


def canonical_counts(matrix: Any, *, name: str, first_cell: int) -> csr_array:
    """Return `matrix` as counts: int32 CSR, sorted, no duplicates, no explicit zeros.

    Parameters
    ----------
    matrix
        Dense or scipy sparse, any numeric or bool dtype, shape (n, n_peaks).
    name
        The input's name for messages.
    first_cell
        The number of row 0 in the whole input.

    Raises
    ------
    CountsError
        On a negative, NaN, infinite, fractional or too large value: it names the cell, the peak
        column and the value.
    """
    counts = csr_array(matrix)
    _check_values(counts, name=name, first_cell=first_cell)
    parts = (counts.data.astype(np.int32), counts.indices, counts.indptr)
    counts = csr_array(parts, shape=counts.shape, copy=True)  # sorted in place below
    counts.sum_duplicates()
    counts.eliminate_zeros()
    return counts


def _check_values(counts: csr_array, *, name: str, first_cell: int) -> None:
    values = counts.data
    if values.dtype == bool or values.size == 0:
        return
    good = (values >= 0) & (values <= _LARGEST)
    if values.dtype.kind == "f":
        good &= np.rint(values) == values
    if good.all():
        return
    first = int(np.flatnonzero(~good)[0])
    cell = int(np.searchsorted(counts.indptr, first, side="right")) - 1
    raise CountsError(
        f"{name} has {values[first]} at cell {first_cell + cell}, peak column "
        f"{int(counts.indices[first])} (counting from 0), which is not a count; give raw counts "
        "(whole numbers from 0, often kept in a layer: put that layer in X): normalised, scaled "
        "or log-transformed matrices cannot be used."
    )


def check_unique(barcodes: Iterable[str], *, name: str) -> pd.Index[str]:
    """Return `barcodes` as an index of str, each once.

    Raises
    ------
    CountsError
        When one is repeated, or there is none.
    """
    index = pd.Index(list(barcodes), dtype=object).astype(str).astype(object)
    if index.empty:
        raise CountsError(f"{name} has no cells; give at least one.")
    repeated = index[index.duplicated()]
    if repeated.size:
        raise CountsError(
            f"{name} has the barcode {repeated[0]!r} more than once ({repeated.size:,} repeats in "
            "all); make barcodes unique, or give several samples as several inputs."
        )
    return index


def cells_table(barcodes: Iterable[str], *, name: str) -> pd.DataFrame:
    """Return an `obs` table without columns, one row per barcode, checked for uniqueness."""
    return pd.DataFrame(index=check_unique(barcodes, name=name))


@dataclass
class InMemorySource:
    """A `CountsSource` whose counts are in memory already (8 bytes per non-zero)."""

    name: str
    obs: pd.DataFrame
    peaks: pd.DataFrame
    counts: csr_array
    """int32, canonical, shape (n_cells, n_peaks)."""
    cells_per_read: int = 1

    def read_cells(self, start: int, stop: int) -> csr_array:
        """Return the counts of cells [start, stop), int32, shape (stop - start, n_peaks)."""
        return self.counts[start:stop]

    def close(self) -> None:
        """Do nothing: no file is held open."""
