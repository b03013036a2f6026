"""Barcode lists: reading them, and selecting the cells of a matrix input by one.

For fragments the list decides which cells there are and their order; a matrix input has an order
of its own, which is kept, so that its cells are read forward once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from atlasstore.errors import CountsError
from atlasstore.files.text import numbered_lines
from atlasstore.inputs.counts import check_unique

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    import pandas as pd

__all__ = ["read_barcodes", "selected_rows", "suffix_hint"]


def read_barcodes(url: str | Path) -> pd.Index[str]:
    """Read a barcode list, one a line, plain or gzip; empty lines are skipped.

    Of a line of several columns the first is read; quotes around it are dropped.

    Raises
    ------
    CountsError
        When the file is missing or damaged, empty, or repeats a barcode.
    """
    lines = (_barcode(line) for _, line in numbered_lines(url, error=CountsError))
    return check_unique((line for line in lines if line), name=str(url))


def _barcode(line: str) -> str:
    return line.strip().split("\t", maxsplit=1)[0].strip().strip("\"'")


def suffix_hint(wanted: pd.Index[str], present: pd.Index[str]) -> str:
    """Say so when adding or stripping a ``-1`` suffix would make barcodes match, else ""."""
    if (wanted + "-1").isin(present).any():
        return " They would match with the suffix -1 added to the list."
    if wanted.str.replace(r"-\d+$", "", regex=True).isin(present).any():
        return " They would match with the suffix (such as -1) removed from the list."
    return ""


def selected_rows(
    cells: pd.Index[str], barcodes: str | Path | None, *, name: str
) -> npt.NDArray[np.int64] | None:
    """Return the rows of `cells` that a barcode list names, rising, int64; None without a list.

    Parameters
    ----------
    cells
        The input's cells.
    barcodes
        Path or URL of the list.
    name
        Of the input, for messages.

    Raises
    ------
    CountsError
        When the list cannot be read or names barcodes the input does not have.
    """
    if barcodes is None:
        return None
    listed = read_barcodes(barcodes)
    _check_known(cells, listed, name=name, list_name=str(barcodes))
    return np.flatnonzero(cells.isin(listed))


def _check_known(
    cells: pd.Index[str], barcodes: pd.Index[str], *, name: str, list_name: str
) -> None:
    unknown = barcodes[~barcodes.isin(cells)]
    if unknown.empty:
        return
    raise CountsError(
        f"{len(unknown):,} of {len(barcodes):,} barcodes in {list_name} are not cells of "
        f"{name} ({', '.join(unknown[:3])}{', ...' if len(unknown) > 3 else ''}); list "
        f"only its cells.{suffix_hint(barcodes, cells)}"
    )
