"""A digest of a table's values, which tells whole files of one shape apart.

Each chunk of a column has its own checksum, so a changed byte is noticed; a whole chunk in the
place of another, of another column or of an earlier version of the table, is not.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from pandas.api.extensions import ExtensionArray

__all__ = ["table_digest"]

_NUMBERS = "biuf"
_ROWS = 1 << 17
"""Rows of text at once."""


def table_digest(table: pd.DataFrame) -> str:
    """Return 32 hexadecimal digits of the index, the columns' names, and all values in their order.

    Parameters
    ----------
    table
        Columns of numbers, of categories, or of text, booleans and integers with missing values,
        as `tidy` makes them and anndata reads them. How pandas holds text does not matter.
    """
    digest = hashlib.blake2b(digest_size=16)
    for name, column in (("", table.index.to_series()), *table.items()):
        digest.update(json.dumps([str(name), len(column)]).encode())
        _add(digest, column.array)
    return digest.hexdigest()


def _add(digest: hashlib.blake2b, values: ExtensionArray) -> None:
    if isinstance(values, pd.Categorical):
        _add(digest, pd.Series(values.categories).array)
        digest.update(values.codes.astype("<i8").tobytes())
        return
    plain = np.asarray(values)
    if plain.dtype.kind in _NUMBERS:
        little = plain.astype(plain.dtype.newbyteorder("<"), copy=False)
        digest.update(little.dtype.str.encode() + little.tobytes())
        return
    missing = np.asarray(pd.isna(values))
    for first in range(0, len(plain), _ROWS):
        part = slice(first, first + _ROWS)
        shown = [
            None if gone else str(v) for v, gone in zip(plain[part], missing[part], strict=True)
        ]
        digest.update(json.dumps(shown).encode())
