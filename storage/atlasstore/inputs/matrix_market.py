"""A Matrix Market file as a stream of tables: coordinate form, plain or gzip, at a path or URL."""

from __future__ import annotations

from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from atlasstore.errors import CountsError
from atlasstore.events import Progress, Subscriber, ignore
from atlasstore.files.text import open_raw, open_text, whole_number
from atlasstore.inputs.hdf5 import readable

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from atlasstore.files.text import TextStream

    Ints = npt.NDArray[np.int64]

__all__ = ["Entries", "matrix_tables", "read_shape"]

_FIELDS = ("integer", "unsigned-integer", "real", "double", "pattern")
_LEAST_ENTRY_BYTES = 4
"""Of an entry's line: two digits, a blank, a line end."""
_MOST_COMPRESSED = 1032
"""Times that gzip makes a file smaller at most."""
_HEAD_LINE_BYTES = 1 << 16


class Entries(NamedTuple):
    """Some entries of a matrix."""

    row: Ints
    """From 0."""
    column: Ints
    """From 0."""
    value: npt.NDArray[Any]
    """As stored; 1 in a file of kind ``pattern``."""


class _Header(NamedTuple):
    n_rows: int
    n_columns: int
    n_entries: int
    field: str


def read_shape(url: str) -> tuple[int, int, int]:
    """Return rows, columns and entries, as the file's head says.

    Raises
    ------
    CountsError
        When the file is missing, damaged or not in coordinate form.
    """
    with _opened(url) as (_, text):
        return _header(text)[:3]


def matrix_tables(
    url: str, *, rows_per_table: int, on_event: Subscriber = ignore
) -> Iterator[Entries]:
    """Yield all entries, in the file's order, at most `rows_per_table` at a time.

    Raises
    ------
    CountsError
        When the file is missing, damaged, or has other entries than its head says.
    """
    with _opened(url) as (raw, text):
        header, seen = _header(text), 0
        size = _size(raw)
        if header.n_entries * _LEAST_ENTRY_BYTES > size * _MOST_COMPRESSED:
            raise ValueError(f"{size:,} bytes cannot hold {header.n_entries:,} entries")
        for table in _parsed(text, header.field, rows_per_table):
            entries = _entries(table, header)
            seen += len(entries.row)
            on_event(Progress("reading counts", raw.tell(), size, "bytes"))
            yield entries
        if seen != header.n_entries:
            raise ValueError(f"{seen:,} entries where its head says {header.n_entries:,}")


@contextmanager
def _opened(url: str) -> Iterator[tuple[IO[bytes], TextStream]]:
    with (
        readable(url, what="a matrix"),
        open_raw(url, error=CountsError) as raw,
        open_text(raw, name=url, error=CountsError) as text,
    ):
        yield raw, text


def _size(raw: IO[bytes]) -> int:
    at = raw.tell()
    size = raw.seek(0, 2)
    raw.seek(at)
    return size


def _header(text: TextStream) -> _Header:
    words = text.readline(_HEAD_LINE_BYTES).decode("latin-1").lower().split()
    if words[:3] != ["%%matrixmarket", "matrix", "coordinate"] or words[4:] != ["general"]:
        raise ValueError("it does not begin with %%MatrixMarket matrix coordinate ... general")
    if words[3] not in _FIELDS:
        raise ValueError(f"it holds {words[3]} values; {', '.join(_FIELDS)} are read")
    line = text.readline(_HEAD_LINE_BYTES)
    while line.startswith(b"%") or (line and not line.strip()):
        line = text.readline(_HEAD_LINE_BYTES)
    n_rows, n_columns, n_entries = (whole_number(word.decode("latin-1")) for word in line.split())
    if min(n_rows, n_columns, n_entries) < 0 or n_entries > n_rows * n_columns:
        raise ValueError(f"{n_entries:,} entries in {n_rows:,} x {n_columns:,} places")
    return _Header(n_rows, n_columns, n_entries, words[3])


def _parsed(text: TextStream, field: str, rows: int) -> Iterator[pd.DataFrame]:
    names = ["row", "column", "value"][: 2 if field == "pattern" else 3]
    dtypes: dict[str, Any] = {"row": "int64", "column": "int64", "value": "float64"}
    try:
        tables = pd.read_csv(
            text,
            sep=r"\s+",
            header=None,
            names=names,
            dtype={name: dtypes[name] for name in names},
            na_filter=False,
            index_col=False,
            chunksize=rows,
        )
    except pd.errors.EmptyDataError:
        return
    with tables:
        yield from tables


def _entries(table: pd.DataFrame, header: _Header) -> Entries:
    row, column = (table[name].to_numpy(np.int64) - 1 for name in ("row", "column"))
    if row.size and (
        min(row.min(), column.min()) < 0
        or row.max() >= header.n_rows
        or column.max() >= header.n_columns
    ):
        raise ValueError(f"an entry outside its {header.n_rows:,} x {header.n_columns:,}")
    return Entries(
        row, column, table["value"].to_numpy() if "value" in table else np.ones(len(row))
    )
