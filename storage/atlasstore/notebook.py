"""What a notebook shows of an object: a title and lines of what and value, as a small table."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from atlasstore.redaction import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["html_table", "named"]

_MOST_NAMES = 12


def html_table(title: str, rows: Sequence[tuple[str, str]]) -> str:
    """Return HTML of aligned lines; whatever text they hold is shown, never run."""
    cells = "".join(
        f'<tr><th style="text-align: left">{_text(name)}</th>'
        f'<td style="text-align: left">{_text(value)}</td></tr>'
        for name, value in rows
    )
    return f"<div><strong>{_text(title)}</strong><table>{cells}</table></div>"


def named(given: Iterable[object]) -> str:
    """Return names in a row, of many the first ones."""
    names = list(given)
    more = f", ... ({len(names):,})" if len(names) > _MOST_NAMES else ""
    return ", ".join(map(str, names[:_MOST_NAMES])) + more or "none"


def _text(value: str) -> str:
    return escape(shown(value))
