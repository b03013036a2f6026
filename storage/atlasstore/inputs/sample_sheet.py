"""Sample sheets: a CSV or TSV with one line per sample, its input and what is known of it.

::

    path,sample,batch,tissue
    a/fragments.tsv.gz,young,1,gut
    s3://bucket/b.h5ad,old,2,gut

``path`` is needed; a relative one is relative to the sheet. ``sample`` names the sample and
``barcodes`` gives its barcode list; both may be empty. Every other column becomes a column of
`obs` in all cells of that sample. Its values stay text (``01`` stays ``01``); empty is missing.
Fields are separated by commas, tabs or semicolons, as the first line has it; empty columns at the
end, which spreadsheets leave, are no columns.
"""

from __future__ import annotations

import csv
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atlasstore.errors import AtlasError, UserInputError
from atlasstore.files import urls
from atlasstore.files.text import numbered_lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["SheetRow", "is_sample_sheet", "read_sample_sheet"]

_SEPARATORS = (",", "\t", ";")
_HEAD_LETTERS = 10_000
_OWN = ("path", "sample", "barcodes")
_EXAMPLE = "the first line names the columns: path, and optionally sample, barcodes, batch, ..."


@dataclass(frozen=True, slots=True)
class SheetRow:
    """One sample of a sheet."""

    path: str
    """Its input: a path or URL, no longer relative to the sheet."""
    sample: str
    """Its name; "" when the sheet gives none."""
    barcodes: str | None
    """Its barcode list, no longer relative to the sheet."""
    columns: tuple[tuple[str, str], ...]
    """(column of obs, value) for every other column with a value."""


def is_sample_sheet(url: str | Path) -> bool:
    """Whether an input is a sample sheet: ``.csv``, or ``.tsv`` whose first line has ``path``."""
    text = urls.path_end(url)
    if text.endswith(".csv"):
        return True
    return text.endswith((".tsv", ".txt")) and "path" in _first_fields(url)


def _first_fields(url: str | Path) -> list[str]:
    """Return the fields of a file's first line; none where it cannot be read as text."""
    try:
        _, line = next(numbered_lines(url, error=UserInputError), (1, ""))
    except AtlasError:
        return []
    return [field.strip().strip('"') for field in line[:_HEAD_LETTERS].split(_separator(line))]


def _separator(line: str) -> str:
    """Return what separates the fields of a header: most often there; a comma where none is."""
    return max(_SEPARATORS, key=line[:_HEAD_LETTERS].count)


def read_sample_sheet(url: str | Path) -> tuple[SheetRow, ...]:
    """Read a sample sheet at a path or URL.

    Raises
    ------
    UserInputError
        When it is missing, has no ``path`` column, no samples or a malformed line; the message
        has the line's number.
    """
    lines = _fields(url)
    number, header = next(lines, (1, []))
    header = _without_empty_end(header, 0)
    _check_header(header, url, number)
    rows, seen = [], dict[str, int]()
    for number, fields in lines:
        row = _row(header, fields, url, number)
        if row.sample and row.sample in seen:
            raise UserInputError(
                f"{url} line {number} names the sample {row.sample!r}, as line "
                f"{seen[row.sample]} does; give every sample a name of its own."
            )
        seen[row.sample] = number
        rows.append(row)
    if not rows:
        raise UserInputError(f"{url} lists no samples; give one line for each sample: {_EXAMPLE}.")
    return tuple(rows)


def _fields(url: str | Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number from 1, fields) of each line that is not empty."""
    lines = (line + "\n" for _, line in numbered_lines(url, error=UserInputError))
    text = itertools.dropwhile(lambda line: not line.strip(), lines)
    header = next(text, "")
    reader = csv.reader(itertools.chain([header], text), strict=True, delimiter=_separator(header))
    try:
        for fields in reader:
            stripped = [field.strip() for field in fields]
            if any(stripped):
                yield reader.line_num, stripped
    except csv.Error as cause:
        raise UserInputError(
            f"{url} line {reader.line_num} is not CSV ({cause}); close every quote and separate "
            "fields by commas, tabs or semicolons."
        ) from cause


def _check_header(header: list[str], url: str | Path, number: int) -> None:
    if "path" not in header:
        raise UserInputError(
            f"{url} line {number} has the columns {', '.join(header) or '(none)'}, but one named "
            f"path is needed; {_EXAMPLE}."
        )
    wrong = [name for name in header if not name or header.count(name) > 1]
    if wrong:
        raise UserInputError(
            f"{url} line {number} has {'a column without a name' if not wrong[0] else ''}"
            f"{f'the column {wrong[0]} more than once' if wrong[0] else ''}; give every column a "
            "name of its own."
        )


def _without_empty_end(fields: list[str], at_least: int) -> list[str]:
    """Return the fields without the empty ones at their end, but `at_least` so many."""
    kept = list(fields)
    while len(kept) > at_least and not kept[-1]:
        kept.pop()
    return kept


def _row(header: list[str], fields: list[str], url: str | Path, number: int) -> SheetRow:
    fields = _without_empty_end(fields, len(header))
    if len(fields) != len(header):
        raise UserInputError(
            f"{url} line {number} has {len(fields)} fields, but the first line names "
            f"{len(header)} columns; put quotes around a value that holds a comma."
        )
    values = dict(zip(header, fields, strict=True))
    if not values["path"]:
        raise UserInputError(f"{url} line {number} has no path; give the sample's input.")
    barcodes = values.get("barcodes", "")
    others = ((name, value) for name, value in values.items() if name not in _OWN and value)
    return SheetRow(
        path=_below(url, values["path"]),
        sample=values.get("sample", ""),
        barcodes=_below(url, barcodes) if barcodes else None,
        columns=tuple(others),
    )


def _below(sheet: str | Path, path: str) -> str:
    """Return `path`, relative to the sheet's folder unless it is absolute or a URL."""
    if "://" in path or path.startswith("/"):
        return path
    text = str(sheet)
    return text[: text.rfind("/") + 1] + path
