"""Text of stores as it may stand on a page: without credentials, and never as markup."""

from __future__ import annotations

import html
import math

from atlasstore.redaction import legible, shown

__all__ = ["figure", "label", "plain_text"]

_MOST_LETTERS = 60


def plain_text(value: object) -> str:
    """Return text without credentials and control characters; the template escapes it."""
    return legible(shown(str(value)))


def label(value: object) -> str:
    """Return a name as plotly shows it: plotly reads tags, so that none may be left in it."""
    text = plain_text(value)
    cut = text if len(text) <= _MOST_LETTERS else f"{text[: _MOST_LETTERS - 3]}..."
    return html.escape(cut, quote=False)


def figure(value: float | None, digits: int = 3) -> str:
    """Return a number; "unknown" where there is none."""
    return "unknown" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"
