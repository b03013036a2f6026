"""How many cells of each of several sets are open at each peak, counted unit by unit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from atlasbasset.batch.scratch import scratch_group
from atlasstore.atlas.atlas import Atlas
from atlasstore.resume.units import Ranges
from atlasstore.zarrio import arrays

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from atlasstore.resume.units import Receipt, Unit

__all__ = ["CountOpen", "OpenCounts", "count_units", "create_counts"]

_UNIT_PEAKS = 4096
_ARRAY = "open"
_UNKNOWN = np.iinfo(np.uint32).max


def count_units(n_peaks: int) -> Ranges:
    """Cut the peaks into units."""
    return Ranges(n_peaks, _UNIT_PEAKS)


def create_counts(url: str, n_peaks: int, n_sets: int) -> None:
    """Create the array that `CountOpen` fills: uint32 (n_peaks, n_sets), a piece per unit."""
    arrays.create_array(
        scratch_group(url),
        _ARRAY,
        shape=(n_peaks, n_sets),
        dtype=np.uint32,
        chunk_rows=_UNIT_PEAKS,
        fill_value=int(_UNKNOWN),
        axes=("peak", "set"),
        compression_level=1,
    )


@dataclass(frozen=True, eq=False)
class CountOpen:
    """Work: count the open cells of each set at a run of peaks; labels are read block by block."""

    atlas: Atlas | str
    """An open atlas, or its URL."""
    set_of_cell: NDArray[np.int64]
    """(N,): each cell's set, -1 for none."""
    n_sets: int
    url: str
    """Where `create_counts` made the array."""

    @cached_property
    def _atlas(self) -> Atlas:
        return self.atlas if isinstance(self.atlas, Atlas) else Atlas.open(self.atlas)

    def __call__(self, unit: Unit) -> Receipt:
        """Count and write peaks [start, stop)."""
        start, stop = unit["start"], unit["stop"]
        counts = np.zeros((stop - start, self.n_sets), np.uint32)
        for block in self._atlas.blocks:
            labels = self._atlas.labels(block.index, start, stop)
            of_pair = self.set_of_cell[block.start : block.stop][labels.indices]
            row = np.repeat(np.arange(stop - start), np.diff(labels.indptr))
            inside = of_pair >= 0
            at = row[inside] * self.n_sets + of_pair[inside]
            found = np.bincount(at, minlength=counts.size)
            counts += found.reshape(counts.shape).astype(np.uint32)
        arrays.write_pieces(arrays.open_member(self.url, _ARRAY, mode="r+"), start, counts)
        return {}


class OpenCounts:
    """What `CountOpen` wrote, run by run.

    Attributes
    ----------
    n_peaks
        P.
    """

    def __init__(self, url: str) -> None:
        self._url, self._array = url, arrays.open_member(url, _ARRAY)
        self.n_peaks = int(self._array.shape[0])

    def rows(self, start: int, stop: int) -> NDArray[np.uint32]:
        """Return the counts of peaks [start, stop), uint32 (stop - start, S).

        Raises
        ------
        CorruptStoreError
            When a piece is lost or damaged.
        """
        found = arrays.read_array(self._array, start, stop, url=self._url)
        if (found == _UNKNOWN).any():
            arrays.check_chunks(self._array, url=self._url)
        return found
