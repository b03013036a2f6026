"""What dask cuts blocks from: a stored table, or one that is predicted from factors when read.

Such a table is pickled as the URL of its result and the range to read, never with an open file or a
credential: each process opens the result itself, once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from math import isqrt, prod
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from atlasstore.files import urls
from atlasstore.results._check import read_rows
from atlasstore.results.factors import on_scale
from atlasstore.zarrio import arrays
from atlasstore.zarrio.names import INTERCEPT

if TYPE_CHECKING:
    from collections.abc import Mapping

    import zarr
    from numpy.typing import NDArray

    _Floats = NDArray[np.float32]
    _Part = slice | int | list[int] | NDArray[np.int64]

__all__ = ["PredictedTable", "StoredTable", "Table"]

_BLOCK_BYTES = 48 << 20
_BAND_ROWS = 1 << 16
_BANDS = 4
"""Runs of about so many rows have their factors read at once, and so many runs are kept: blocks
side by side share them."""
_LEFT = "left"


@dataclass(frozen=True, eq=False)
class Table(ABC):
    """An array as dask sees it: shape, dtype, and parts of it as numpy's indexing takes them."""

    url: str
    """Of the result."""
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, f.name) for f in fields(self))

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def n_bytes(self) -> int:
        """Size in memory."""
        return prod(self.shape) * self.dtype.itemsize

    @property
    @abstractmethod
    def block(self) -> tuple[int, ...]:
        """Shape of the blocks it is best cut into."""

    @abstractmethod
    def __getitem__(self, index: tuple[_Part, ...]) -> NDArray[Any]: ...

    @cached_property
    def _group(self) -> zarr.Group:
        return urls.open_group(self.url)

    def _array(self, name: str) -> zarr.Array[Any]:
        return arrays.member(self._group, name, url=self.url)


@dataclass(frozen=True, eq=False)
class StoredTable(Table):
    """An array of a result, read by ranges of rows."""

    name: str
    piece_rows: int
    """Rows that are stored together."""
    stamp: str = ""
    """Of the result's root when it was opened (`read_rows`)."""

    @classmethod
    def of(cls, url: str, array: zarr.Array[Any], name: str, stamp: str) -> StoredTable:
        """Return the table of an open array."""
        piece = (array.shards or array.chunks)[0]
        return cls(url, tuple(array.shape), np.dtype(array.dtype), name, piece, stamp)

    @property
    def block(self) -> tuple[int, ...]:
        """Shape of a block: whole rows, whole stored pieces."""
        row_bytes = max(1, prod(self.shape[1:]) * self.dtype.itemsize)
        rows = self.piece_rows * max(1, _BLOCK_BYTES // (self.piece_rows * row_bytes))
        return (max(1, min(rows, self.shape[0])), *self.shape[1:])

    def __getitem__(self, index: tuple[_Part, ...]) -> NDArray[Any]:
        start, stop, within = _run(index[0], self.shape[0])
        rows = read_rows(self._array(self.name), start, stop, url=self.url, stamp=self.stamp)
        found: NDArray[Any] = rows[(within, *index[1:])]
        return found


@dataclass(frozen=True, eq=False)
class PredictedTable(Table):
    """The X of a factored result, float32: the product of its factors on its scale.

    The columns' factors are read once and kept, the rows' as they are needed.
    """

    names: tuple[str, str]
    """Of the factors: in obsm, in varm."""
    scale: str
    """As in ``uns["scbasset"]``."""
    stamp: str = ""
    """Of the result's root when it was opened (`read_rows`)."""

    @property
    def block(self) -> tuple[int, int]:
        """Shape of a block, as high as wide: one row and one column alike touch few blocks."""
        n_rows, n_columns = self.shape
        values = _BLOCK_BYTES // self.dtype.itemsize
        high = min(n_rows, max(isqrt(values), values // max(1, n_columns)))
        wide = min(n_columns, values // max(1, high))
        return max(1, high), max(1, wide)

    def __getitem__(self, index: tuple[_Part, ...]) -> NDArray[np.float32]:
        start, stop, of_rows = _run(index[0], self.shape[0])
        first, last, of_columns = _run(index[1], self.shape[1])
        left, intercept = self._left(start, stop)
        block = on_scale(self.scale, left, self._right[first:last], intercept)
        found: NDArray[np.float32] = block[of_rows, of_columns]
        return found

    @cached_property
    def _right(self) -> NDArray[np.float32]:
        array = self._array(f"varm/{self.names[1]}")
        return read_rows(array, 0, array.shape[0], url=self.url, stamp=self.stamp)

    def _left(self, start: int, stop: int) -> tuple[_Floats, _Floats | None]:
        """Return factors and, where they count, intercepts of rows [start, stop)."""
        size = self._band_rows
        first, last = start // size, max(start, stop - 1) // size
        with self._reading:  # of threads that need the same rows, one reads them
            bands = [self._band(index) for index in range(first, last + 1)]
        columns = {name: np.concatenate([band[name] for band in bands]) for name in bands[0]}
        within = slice(start - first * size, stop - first * size)
        rows = {name: values[within] for name, values in columns.items()}
        return rows[_LEFT], rows.get(INTERCEPT)

    @cached_property
    def _band_rows(self) -> int:
        """Rows that are read at a time: whole stored pieces."""
        piece = int(self._array(f"obsm/{self.names[0]}").chunks[0])
        return piece * max(1, _BAND_ROWS // piece)

    @cached_property
    def _reading(self) -> Lock:
        return Lock()

    @cached_property
    def _band(self) -> Any:
        return lru_cache(maxsize=_BANDS)(self._read_band)

    def _read_band(self, index: int) -> Mapping[str, NDArray[Any]]:
        start = index * self._band_rows
        stop = min(self.shape[0], start + self._band_rows)
        names = {_LEFT: f"obsm/{self.names[0]}"}
        if self.scale == "probability":
            names[INTERCEPT] = f"obs/{INTERCEPT}"
        return {
            short: read_rows(self._array(name), start, stop, url=self.url, stamp=self.stamp)
            for short, name in names.items()
        }


def _run(index: _Part, size: int) -> tuple[int, int, _Part]:
    """Return the shortest run [start, stop) that holds what `index` takes, and what that is in it.

    Dask asks for single rows, lists of rows, every second row, rows from the end.
    """
    if isinstance(index, slice):
        chosen = range(*index.indices(size))
        if not chosen:
            return 0, 0, slice(None)
        return min(chosen), max(chosen) + 1, slice(None, None, chosen.step)
    rows = np.asarray(index) % max(1, size)
    if not rows.size:
        return 0, 0, slice(None)
    start, stop = int(rows.min()), int(rows.max()) + 1
    return start, stop, rows - start
