"""Tables of what is known of cells (clusters, types, donors): CSV, TSV, or the obs of an AnnData.

The first column of a text holds the cells' names, whatever it is called; every other one has a
name. Text stays text here: ``1`` and ``01`` are different labels.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import pandas as pd

from atlasstore.errors import UserInputError
from atlasstore.files import urls
from atlasstore.files.text import numbered_lines
from atlasstore.inputs.anndata_input import read_obs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["read_cell_table"]

_ANNDATA = (".h5ad", ".zarr")
_TEXTS = (".csv", ".tsv", ".txt")
_SEPARATORS = "\t", ";", ","


def read_cell_table(url: str | Path) -> pd.DataFrame:
    """Read a table of cells, a row per cell, indexed by name.

    Parameters
    ----------
    url
        Path or URL of a ``.csv``, ``.tsv`` or ``.txt`` (also ``.gz``) with a header, or of an
        AnnData (``.h5ad``, ``.zarr``), whose obs is read.

    Raises
    ------
    UserInputError
        When it cannot be read, names a cell twice, or has no column beside the names.
    """
    name = urls.path_end(url).removesuffix(".gz")
    if name.endswith(_ANNDATA):
        table = read_obs(url)
    elif name.endswith(_TEXTS):
        table = _read_text(url)
    else:
        raise UserInputError(
            f"{url} ends in none of {', '.join((*_TEXTS, *_ANNDATA))}; give a table of cells with "
            "their names in the first column, or an AnnData."
        )
    twice = table.index[table.index.duplicated()]
    if len(twice):
        raise UserInputError(f"{url} names cell {twice[0]!r} more than once; name each once.")
    if not len(table.columns):
        raise UserInputError(f"{url} has no column beside the cells' names; give one of labels.")
    return table


def _read_text(url: str | Path) -> pd.DataFrame:
    rows = _rows(url)
    _, header = next(rows, (1, []))
    names, values = list[str](), list[list[str]]()
    for number, fields in rows:
        if not values and len(fields) == len(header) + 1:
            header = ["", *header]  # as R's write.table does
        if len(fields) != len(header):
            raise UserInputError(
                f"{url} line {number} has {len(fields)} fields, but the first line names "
                f"{len(header)} columns; give a table with a header, the cells' names first."
            )
        names.append(fields[0])
        values.append(fields[1:])
    if not values:
        raise UserInputError(f"{url} has no cells; give a header and a line for each cell.")
    columns = header[1:]
    if "" in columns or len(set(columns)) < len(columns):
        raise UserInputError(
            f"{url} has the columns {', '.join(map(repr, columns))}; give each a name of its own."
        )
    index = pd.Index(names, dtype=object, name=header[0] or None)
    return pd.DataFrame(values, columns=columns, index=index, dtype=object)


def _rows(url: str | Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, fields) of each line that is not empty."""
    lines = (line for _, line in numbered_lines(url, error=UserInputError))
    first = next(lines, "")
    separator = next((mark for mark in _SEPARATORS if mark in first), ",")

    def text() -> Iterator[str]:
        yield first + "\n"
        yield from (line + "\n" for line in lines)

    reader = csv.reader(text(), delimiter=separator, strict=True)
    try:
        for fields in reader:
            if fields:
                yield reader.line_num, [field.strip() for field in fields]
    except csv.Error as cause:
        raise UserInputError(
            f"{url} line {reader.line_num} is no line of a table ({cause}); close every quote."
        ) from cause
