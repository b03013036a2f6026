"""Barcode lists: reading them, and selecting the cells of a matrix input by one.

For fragments the list decides which cells there are and their order; a matrix input has an order
of its own, which is kept, so that its cells are read forward once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array, vstack

from atlasstore.errors import CountsError
from atlasstore.inputs.counts import check_unique
from atlasstore.textfiles import numbered_lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt
    import pandas as pd

    from atlasstore.inputs.source import CountsSource

__all__ = ["SelectedCells", "read_barcodes", "suffix_hint"]

_CELLS_PER_SPAN = 16_384


def read_barcodes(url: str | Path) -> pd.Index[str]:
    """Read a barcode list, one a line, plain or gzip; empty lines are skipped.

    Raises
    ------
    CountsError
        When the file is missing or damaged, empty, or repeats a barcode.
    """
    lines = (line.strip() for _, line in numbered_lines(url, error=CountsError))
    return check_unique((line for line in lines if line), name=str(url))


def suffix_hint(wanted: pd.Index[str], present: pd.Index[str]) -> str:
    """Say so when adding or stripping a ``-1`` suffix would make barcodes match, else ""."""
    if (wanted + "-1").isin(present).any():
        return " They would match with the suffix -1 added to the list."
    if wanted.str.replace(r"-\d+$", "", regex=True).isin(present).any():
        return " They would match with the suffix (such as -1) removed from the list."
    return ""


class SelectedCells:
    """The cells of another source that a barcode list names, in that source's order.

    Raises
    ------
    CountsError
        When the list names barcodes the source does not have.
    """

    def __init__(self, source: CountsSource, barcodes: pd.Index[str], *, list_name: str) -> None:
        _check_known(source, barcodes, list_name=list_name)
        self._source = source
        self._rows = np.flatnonzero(source.obs.index.isin(barcodes))
        self.name = source.name
        self.obs = source.obs.iloc[self._rows]
        self.peaks = source.peaks
        self.cells_per_read = min(source.cells_per_read, len(self._rows))

    def read_cells(self, start: int, stop: int) -> csr_array:
        """Return the counts of selected cells [start, stop), int32, (stop - start, n_peaks)."""
        rows = self._rows[start:stop]
        parts = [
            self._source.read_cells(first, last)[rows[(rows >= first) & (rows < last)] - first]
            for first, last in self._spans(rows)
        ]
        if not parts:
            return csr_array((0, len(self.peaks)), dtype=np.int32)
        return csr_array(vstack(parts, format="csr"))

    def _spans(self, rows: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
        """Yield [first, last) runs of the source's cells that hold all of `rows`, none too long."""
        longest = max(_CELLS_PER_SPAN, self._source.cells_per_read)
        while rows.size:
            taken = int(np.searchsorted(rows, rows[0] + longest))
            yield int(rows[0]), int(rows[taken - 1]) + 1
            rows = rows[taken:]

    def close(self) -> None:
        """Release the source's files."""
        self._source.close()


def _check_known(source: CountsSource, barcodes: pd.Index[str], *, list_name: str) -> None:
    unknown = barcodes[~barcodes.isin(source.obs.index)]
    if unknown.empty:
        return
    raise CountsError(
        f"{len(unknown):,} of {len(barcodes):,} barcodes in {list_name} are not cells of "
        f"{source.name} ({', '.join(unknown[:3])}{', ...' if len(unknown) > 3 else ''}); list "
        f"only its cells.{suffix_hint(barcodes, source.obs.index)}"
    )
