"""What every kind of input offers: cells in order, peaks, and counts by runs of cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_array

__all__ = ["CountsSource"]


class CountsSource(Protocol):
    """A count matrix of one sample, cells x peaks, read by contiguous runs of cells.

    Attributes
    ----------
    name
        The path or URL as the person gave it; every error message carries it.
    obs
        One row per cell, indexed by barcode (unique within the source).
    peaks
        One row per peak in the source's order: columns ``chrom`` (str), ``start``, ``end``
        (int64, 0-based half-open), indexed by the peak's own name.
    cells_per_read
        How many cells one `read_cells` call should ask for at least, to be worth its cost: small
        for cell-major inputs, all of them where a read scans the whole input.
    """

    name: str
    obs: pd.DataFrame
    peaks: pd.DataFrame
    cells_per_read: int

    def read_cells(self, start: int, stop: int) -> csr_array:
        """Return the counts of cells [start, stop), int32, shape (stop - start, n_peaks).

        Canonical form: sorted indices, no duplicates, no explicit zeros.

        Raises
        ------
        CountsError
            On negative or non-integer counts, or bytes that cannot be read.
        """
        ...

    def close(self) -> None:
        """Release files."""
        ...
