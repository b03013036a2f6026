"""A table written run by run: parquet, CSV or TSV by its name, there whole or not at all.

Rows are never all held: they go to a hidden file beside the table's place, which is renamed at the
end. An object store has no rename and takes whole objects: the file is made on this machine and
put there at the end.
"""

from __future__ import annotations

import gzip
import io
from contextlib import ExitStack, contextmanager
from typing import IO, TYPE_CHECKING, Literal

import pandas as pd

from atlasstore.files.staging import staged_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    Write = Callable[[pd.DataFrame], None]

__all__ = ["SUFFIXES", "ColumnType", "TableFile", "written_table"]

SUFFIXES = (".parquet", ".csv", ".tsv", ".csv.gz", ".tsv.gz")
"""How a table may be named."""
ColumnType = Literal["text", "int64", "float32", "float64"]

ROWS_AT_ONCE = 1 << 15


class TableFile:
    """A table that rows are added to; made by `written_table`.

    Attributes
    ----------
    n_rows
        Rows so far.
    """

    def __init__(self, write: Write, *, rows_at_once: int = ROWS_AT_ONCE) -> None:
        self._rows_at_once = rows_at_once
        self._write, self._kept, self._n_kept = write, list[pd.DataFrame](), 0
        self.n_rows = 0

    def add(self, rows: pd.DataFrame) -> None:
        """Add rows with the table's columns; few are kept until they are worth writing."""
        if len(rows):
            self._kept.append(rows)
        self._n_kept += len(rows)
        self.n_rows += len(rows)
        if self._n_kept >= self._rows_at_once:
            self.flush()

    def flush(self) -> None:
        """Write what is kept."""
        if self._kept:
            self._write(pd.concat(self._kept, ignore_index=True))
        self._kept, self._n_kept = [], 0


@contextmanager
def written_table(
    out: str | Path,
    columns: Mapping[str, ColumnType],
    *,
    rows_at_once: int = ROWS_AT_ONCE,
    on_whole: Callable[[Path], None] | None = None,
) -> Iterator[TableFile]:
    """Yield a table to add rows to; it is at `out` when the block ends without an error.

    Parameters
    ----------
    out
        Path or URL whose name ends in one of `SUFFIXES`.
    columns
        Name -> type; an empty table has them too.
    rows_at_once
        Rows that are kept until they are worth writing.
    on_whole
        Called with the written file before it is at `out`.

    Raises
    ------
    StoreExistsError
        When something exists at `out`.
    """
    with staged_file(out) as path:
        with _opened(path, str(out), columns) as write:
            table = TableFile(write, rows_at_once=rows_at_once)
            yield table
            table.flush()
        if on_whole is not None:
            on_whole(path)


@contextmanager
def _opened(path: Path, name: str, columns: Mapping[str, ColumnType]) -> Iterator[Write]:
    """Yield what writes rows into the form that `name` tells."""
    form = _parquet if name.endswith(".parquet") else _text
    with ExitStack() as stack:
        yield form(path, name, columns, stack)


def _parquet(path: Path, name: str, columns: Mapping[str, ColumnType], stack: ExitStack) -> Write:
    """Write row groups."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    types = {
        "text": pa.string(),
        "int64": pa.int64(),
        "float32": pa.float32(),
        "float64": pa.float64(),
    }
    schema = pa.schema([(column, types[kind]) for column, kind in columns.items()])
    writer = stack.enter_context(ParquetWriter(str(path), schema))

    def write(rows: pd.DataFrame) -> None:
        writer.write_table(pa.Table.from_pandas(rows, schema=schema, preserve_index=False))

    return write


def _text(path: Path, name: str, columns: Mapping[str, ColumnType], stack: ExitStack) -> Write:
    """Write lines, the columns' names first; gzip without a time: equal tables are equal files."""
    binary: IO[bytes] | gzip.GzipFile = stack.enter_context(path.open("wb"))
    if name.endswith(".gz"):
        binary = stack.enter_context(gzip.GzipFile("", "wb", fileobj=binary, mtime=0))
    stream = stack.enter_context(io.TextIOWrapper(binary, encoding="utf-8", newline=""))
    separator = "\t" if ".tsv" in name[-len(".tsv.gz") :] else ","

    def write(rows: pd.DataFrame, *, header: bool = False) -> None:
        rows.to_csv(
            stream,
            index=False,
            header=header,
            sep=separator,
            lineterminator="\n",
            float_format="%.6g",
        )

    write(pd.DataFrame(columns=list(columns)), header=True)
    return write
