"""A fragment file, or a piece of one, as a stream of tables, a hundred thousand rows at a time.

The fast path is pandas' C parser; when it, gzip or a check trips, the file is read again line by
line to say exactly where. Barcodes may contain ``#``, so only whole lines that begin with ``#``
at the top of the file are comments.
"""

from __future__ import annotations

import csv
import io
from typing import IO, TYPE_CHECKING, NoReturn

import pandas as pd
from pandas.errors import EmptyDataError, ParserError

from atlasstore.errors import CountsError
from atlasstore.events import Progress, Subscriber, ignore
from atlasstore.files.text import DAMAGED, numbered_lines, open_raw, text_kind, whole_number
from atlasstore.genome.peaks import MAX_POSITION
from atlasstore.inputs.text_ranges import open_piece

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from atlasstore.files.text import TextStream
    from atlasstore.inputs.source import Piece

__all__ = ["ROWS_PER_TABLE", "fragment_tables", "usable"]

ROWS_PER_TABLE = 120_000
"""About 4 MB in memory. Columns of less than 1 MB are used again by the allocator and stay in the
processor's cache; larger tables are not read faster."""

_HEAD_BYTES = 1 << 16
_COLUMNS = ["chrom", "start", "end", "barcode"]
_DTYPES = {"chrom": "category", "start": "int64", "end": "int64", "barcode": "category"}


def fragment_tables(
    url: str | Path,
    *,
    piece: Piece | None = None,
    rows_per_table: int = ROWS_PER_TABLE,
    on_event: Subscriber = ignore,
) -> Iterator[pd.DataFrame]:
    """Yield the fragments in the file's order as tables of at most `rows_per_table` rows.

    Columns: ``chrom`` and ``barcode`` (categorical), ``start`` and ``end`` (int64, 0-based
    half-open). Further columns of the file are not read. Fragments without a base in the genome
    (``start < 0`` or ``end <= start``) are among them: see `usable`.

    Parameters
    ----------
    url
        Path or URL.
    piece
        One of `text_pieces.plan_text_pieces`; the whole file when absent.
    rows_per_table
        Fragments in memory at a time.
    on_event
        Hears of progress, in stored bytes.

    Raises
    ------
    CountsError
        When the file is missing, cut, damaged, empty or has a malformed line.
    """
    try:
        with open_raw(url, error=CountsError) as raw:
            size = raw.seek(0, io.SEEK_END)
            start, stop = piece or (0, size)
            if stop == size and text_kind(raw) == "plain":
                _check_end(raw, size, name=str(url))
            with open_piece(raw, piece, name=str(url), error=CountsError) as text:
                if start == 0:
                    _skip_comments(text)
                for table in _parsed(text, rows_per_table):
                    _check(table)
                    done = min(raw.tell(), stop) - start
                    on_event(Progress("reading fragments", done, stop - start, "bytes"))
                    yield table
    except CountsError:
        raise
    except (*DAMAGED, ParserError, ValueError, OverflowError) as cause:
        _explain(url, cause)


def _check_end(raw: IO[bytes], size: int, *, name: str) -> None:
    """Refuse plain text that was cut within its last line; gzip tells by itself.

    Of a barcode that was cut there would be a cell that never was. The first fragment's line tells
    how many fields a line has.
    """
    raw.seek(0)
    lines = raw.read(_HEAD_BYTES).split(b"\n")[:-1]
    first = next((line for line in lines if not line.startswith(b"#")), b"")
    raw.seek(max(0, size - _HEAD_BYTES))
    _, line_end, last = raw.read(_HEAD_BYTES).rpartition(b"\n")
    found, needed = (line.count(b"\t") + 1 for line in (last, first))
    if line_end and last.strip() and found < needed:
        raise CountsError(
            f"{name} ends with {last.decode(errors='replace')[:80]!r}, which has {found} fields "
            f"where the first line has {needed}, and no line end: the file was cut; copy it again."
        )


def _parsed(text: TextStream, rows: int) -> Iterator[pd.DataFrame]:
    try:
        tables = pd.read_csv(
            text,
            sep="\t",
            header=None,
            names=_COLUMNS,
            usecols=[0, 1, 2, 3],
            dtype=_DTYPES,
            quoting=csv.QUOTE_NONE,
            na_filter=False,
            chunksize=rows,
        )
    except EmptyDataError:
        return
    with tables:
        yield from tables


def _skip_comments(text: TextStream) -> None:
    while text.peek(1).startswith(b"#"):
        text.readline()


def usable(table: pd.DataFrame) -> pd.DataFrame:
    """Return the fragments with ``0 <= start < end``, all others left out."""
    good = (table["start"] >= 0) & (table["end"] > table["start"])
    if good.all():
        return table
    kept = table[good].reset_index(drop=True)
    return kept.assign(
        **{name: kept[name].cat.remove_unused_categories() for name in ("chrom", "barcode")}
    )


def _check(table: pd.DataFrame) -> None:
    if max(table["end"].max(), table["start"].max()) > MAX_POSITION:
        raise ValueError("a malformed line")
    if "" in table["barcode"].cat.categories or "" in table["chrom"].cat.categories:
        raise ValueError("a malformed line")


def _explain(url: str | Path, cause: Exception) -> NoReturn:
    in_comments = True
    for number, line in numbered_lines(url, error=CountsError):
        in_comments = in_comments and line.startswith("#")
        if not in_comments and line and not _is_fragment(line):
            raise CountsError(
                f"{url} line {number} is {line[:80]!r}; a fragment is chromosome, start, end, "
                "barcode (and count) separated by tabs, 0-based half-open: correct or remove the "
                "line."
            ) from cause
    raise CountsError(f"{url} cannot be read as fragments: {cause}.") from cause


def _is_fragment(line: str) -> bool:
    fields = line.split("\t")
    try:
        start, end = whole_number(fields[1]), whole_number(fields[2])
        return bool(fields[0] and fields[3]) and max(start, end, -start) <= MAX_POSITION
    except (IndexError, ValueError):
        return False
