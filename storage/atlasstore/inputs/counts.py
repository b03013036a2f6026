"""What every reader does to counts and cells before handing them on: check, make canonical.

Also barcodes checked for uniqueness, which all readers share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from atlasstore.errors import CountsError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

__all__ = ["canonical_counts", "cells_table", "check_counts", "check_unique", "without_halves"]

_LARGEST = np.iinfo(np.int32).max


def without_halves(values: Any) -> Any:
    """Return numbers that SciPy's sparse matrices hold: it has no float16."""
    return values.astype(np.float32) if values.dtype == np.float16 else values


def canonical_counts(
    matrix: Any, *, name: str, first_cell: int, columns: npt.NDArray[np.int64] | None = None
) -> csr_array:
    """Return `matrix` as counts: int32 CSR, sorted, no duplicates, no explicit zeros.

    Parameters
    ----------
    matrix
        Dense or scipy sparse, any numeric or bool dtype, shape (n, n_peaks).
    name
        The input's name for messages.
    first_cell
        The number of row 0 in the whole input.
    columns
        The number of each column in the whole input, int64; its own where absent.

    Raises
    ------
    CountsError
        On a negative, NaN, infinite, fractional or too large value: it names the cell, the peak
        column and the value.
    """
    counts = csr_array(matrix)
    first = _first_bad(counts.data)
    if first is not None:
        cell = first_cell + int(np.searchsorted(counts.indptr, first, side="right")) - 1
        column = int(counts.indices[first])
        column = column if columns is None else int(columns[column])
        _refuse(counts.data[first], cell=cell, column=column, name=name)
    parts = (counts.data.astype(np.int32), counts.indices, counts.indptr)
    counts = csr_array(parts, shape=counts.shape, copy=True)  # sorted in place below
    counts.sum_duplicates()
    counts.eliminate_zeros()
    return counts


def check_counts(
    values: npt.NDArray[Any],
    *,
    cell: npt.NDArray[Any],
    column: npt.NDArray[Any],
    name: str,
) -> None:
    """Refuse values that are no counts.

    Parameters
    ----------
    values, cell, column
        Each value with its cell's and its peak's number, shape (n,).
    name
        The input's name for messages.

    Raises
    ------
    CountsError
        As `canonical_counts`.
    """
    first = _first_bad(values)
    if first is not None:
        _refuse(values[first], cell=int(cell[first]), column=int(column[first]), name=name)


def _first_bad(values: npt.NDArray[Any]) -> int | None:
    if values.dtype == bool or values.size == 0:
        return None
    if values.dtype.kind not in "iuf":
        return 0
    good = (values >= 0) & (values <= _LARGEST)
    if values.dtype.kind == "f":
        good &= np.rint(values) == values
    return None if good.all() else int(np.flatnonzero(~good)[0])


def _refuse(value: Any, *, cell: int, column: int, name: str) -> NoReturn:
    raise CountsError(
        f"{name} has {value} at cell {cell}, peak column {column} (counting from 0), which is not "
        "a count; give raw counts (whole numbers from 0, often kept in a layer or in raw: --layer "
        "NAME or --use-raw): normalised, scaled or log-transformed matrices cannot be used."
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
