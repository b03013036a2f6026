"""What every kind of input offers: cells in order, peaks, and counts by runs of cells.

An input is *described* once (its tables), and its counts are opened wherever they are read. One
that is not stored by cells is first counted in `Pieces` into a cell-major copy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy as np
    import numpy.typing as npt
    import pandas as pd
    from scipy.sparse import csr_array

    from atlasstore.events import Subscriber

    Ints = npt.NDArray[np.int64]
    Add = Callable[[Ints, Ints, Ints], None]

__all__ = ["Cells", "CountsMatrix", "CountsSource", "Description", "Piece", "Pieces"]

Piece = tuple[int, int]
"""A range [start, stop), 0-based half-open: of bytes, columns or files, as the input has it."""


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
        How many cells one `read_cells` call should ask for at least, to be worth its cost.
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


class CountsMatrix(Protocol):
    """Counts as an input stores them by cells: not checked, not selected, not in order."""

    n_cells: int
    n_features: int

    def read(self, start: int, stop: int) -> Any:
        """Return rows [start, stop), scipy sparse, shape (stop - start, n_features)."""
        ...

    def close(self) -> None:
        """Release files."""
        ...


@dataclass(frozen=True)
class Description:
    """What an input says of itself, its counts left unread."""

    obs: pd.DataFrame | None
    """One row per cell; None where only counting tells which cells there are."""
    peaks: pd.DataFrame
    """As `CountsSource.peaks`."""
    columns: Ints | None = None
    """The stored features that are the peaks, int64; None when all are, in order."""
    by_cell: bool = True
    """Whether a run of cells can be read without passing through all of the input."""


@dataclass(frozen=True)
class Cells:
    """The cells that counting found."""

    obs: pd.DataFrame
    """One row per cell."""
    numbering: Iterable[Ints] | None = None
    """For each piece, the row in `obs` of each of its own cell numbers; None when they are that.
    May be passed over once: those of all pieces are as many as the input is long."""


class Pieces(Protocol):
    """An input that is not stored by cells, as pieces that are counted apart, in any order."""

    peaks: pd.DataFrame

    def plan(self, n_workers: int) -> list[Piece]:
        """Return the pieces, enough of them for `n_workers`."""
        ...

    def count(
        self, piece: Piece, add: Add, *, memory_bytes: int, on_event: Subscriber
    ) -> dict[str, Any]:
        """Call ``add(cell, peak, count)`` for all of a piece; return what `cells` must know.

        The arrays are of one length, any integer dtype; the same pair may come again and its
        counts are added up. What is returned holds JSON values.
        """
        ...

    def cells(self, facts: Sequence[dict[str, Any]], notice: Callable[[str], None]) -> Cells:
        """Return the cells, from what `count` returned for each piece, in the pieces' order."""
        ...
