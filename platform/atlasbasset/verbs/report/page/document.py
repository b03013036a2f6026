"""What a page is made of: sections with figures, tables and lines."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from atlasbasset.verbs.report.page.text import plain_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atlasbasset.verbs.report.findings.missing import Missing

__all__ = ["Column", "Csv", "Figure", "Section", "Table", "Tile"]

Column = Sequence[Any] | NDArray[Any]
"""Values of a figure's data."""

_MOST_CSV_BYTES = 2_000_000


@dataclass(frozen=True, slots=True)
class Csv:
    """A figure's data, as a file that the page holds."""

    file: str
    """Its name."""
    content: bytes
    cut: str | None = None
    """A sentence where rows were left out."""

    @classmethod
    def of(cls, file: str, columns: Mapping[str, Column]) -> Csv:
        """Write columns; above 2 MB evenly spaced rows are kept."""
        rows = list(zip(*(_plain(values) for values in columns.values()), strict=True))
        content = _written(list(columns), rows)
        step = -(-len(content) // _MOST_CSV_BYTES)
        if step == 1:
            return cls(file, content)
        cut = f"one row in {step} of {len(rows):,}, to bound the page"
        return cls(file, _written(list(columns), rows[::step]), cut)

    @property
    def href(self) -> str:
        """The file as a data URI."""
        return f"data:text/csv;base64,{base64.b64encode(self.content).decode()}"


def _plain(values: Column) -> list[Any]:
    """Return numbers to five figures, text without credentials, nothing for what is unknown."""
    return [_cell(value) for value in values]


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, float | np.floating):
        return "" if not np.isfinite(value) else f"{value:.5g}"
    return int(value) if isinstance(value, int | np.integer) else plain_text(value)


def _written(names: list[str], rows: list[tuple[Any, ...]]) -> bytes:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    return file.getvalue().encode()


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Figure:
    """A plotly figure with a sentence that says what to see."""

    name: str
    """Id on the page: letters and dashes."""
    title: str
    says: str
    plot: Any
    """A plotly figure."""
    csv: Csv
    height_px: int = 340
    is_wide: bool = False
    """Whether it takes the whole width."""
    is_long: bool = False
    """Whether it scrolls sideways on a narrow page rather than be squeezed."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """What the page's script needs beside the plot: colourings, names of the cells."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under a header; the first column names the row."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    says: str = ""


@dataclass(frozen=True, slots=True)
class Tile:
    """A key figure."""

    name: str
    value: str
    meaning: str


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Section:
    """A part of the page under a heading."""

    name: str
    """Id on the page."""
    title: str
    leads: tuple[str, ...] = ()
    """Sentences before the figures."""
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    missing: tuple[Missing, ...] = ()
