"""A source that opens its input when counts are asked for, so that hundreds can be at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atlasstore.inputs.kinds import open_counts
from atlasstore.inputs.matrix_counts import CELLS_PER_READ

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    from scipy.sparse import csr_array

    from atlasstore.inputs.matrix_counts import MatrixCounts
    from atlasstore.inputs.spec import SourceSpec

__all__ = ["LazySource"]


class LazySource:
    """A `CountsSource` that holds no file until it is read, and none after `close`.

    Parameters
    ----------
    spec
        How to open the counts; send this, not the source, to another process.
    obs
        One row per cell.
    peaks
        The atlas's peaks; sources of one survey share one table.
    """

    def __init__(self, spec: SourceSpec, *, obs: pd.DataFrame, peaks: pd.DataFrame) -> None:
        self.spec, self.obs, self.peaks = spec, obs, peaks
        self.name = spec.name
        self.cells_per_read = min(CELLS_PER_READ, len(obs))
        self.on_close: Callable[[], Any] | None = None
        self._counts: MatrixCounts | None = None

    def read_cells(self, start: int, stop: int) -> csr_array:
        """Return the counts of cells [start, stop), int32, shape (stop - start, n_peaks).

        Raises
        ------
        CountsError
            When they cannot be opened or read, or are no counts; it names the input.
        """
        if self._counts is None:
            self._counts = open_counts(self.spec)
        return self._counts.read_cells(start, stop)

    def close(self) -> None:
        """Release files; the next read opens them again."""
        if self._counts is not None:
            self._counts.close()
            self._counts = None
        if self.on_close is not None:
            self.on_close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _make, (self.spec, self.obs, self.peaks)


def _make(spec: SourceSpec, obs: pd.DataFrame, peaks: pd.DataFrame) -> LazySource:
    return LazySource(spec, obs=obs, peaks=peaks)
