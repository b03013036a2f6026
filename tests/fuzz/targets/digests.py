"""What was read, as text that is equal where it is the same."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["of_arrays", "of_table"]


def of_arrays(*arrays: Any) -> str:
    """Return types, shapes and a digest of the values."""
    found = hashlib.sha256()
    shown = []
    for array in map(np.asarray, arrays):
        shown.append(f"{array.dtype}{array.shape}")
        content = repr(array.tolist()).encode() if array.dtype.kind == "O" else array.tobytes()
        found.update(content)
    return f"{' '.join(shown)} {found.hexdigest()[:16]}"


def of_table(table: pd.DataFrame | None) -> str:
    """Return columns, rows and a digest of a table's text."""
    if table is None:
        return "no table"
    text = table.to_csv()
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]
    return f"{list(map(str, table.columns))} {len(table)} {digest}"
