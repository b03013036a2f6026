"""Colours that are told apart without red-green vision, on a light and on a dark page.

Categories: Paul Tol's "bright", "muted" and "light" schemes, in an order in which neighbours
differ in lightness too; of more categories than colours the next round has another symbol. Tables:
cividis, and purple to orange around zero.
"""

from __future__ import annotations

__all__ = ["BASES", "DIVERGING", "MODEL", "REFERENCE", "SEQUENTIAL", "SERIES", "category_style"]

_CATEGORIES = (
    "#4477AA",
    "#EE6677",
    "#228833",
    "#CCBB44",
    "#66CCEE",
    "#AA3377",
    "#999933",
    "#882255",
    "#44AA99",
    "#DDCC77",
    "#6A6AD8",
    "#EE8866",
    "#77AADD",
    "#117733",
    "#FFAABB",
    "#661100",
    "#BBCC33",
    "#332288",
    "#99DDFF",
)
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x")
_UNLABELLED = "#9A9A9A"

MODEL, REFERENCE = "#4477AA", "#CC8A00"
SERIES = ("#4477AA", "#CC8A00", "#228833", "#AA3377")
SEQUENTIAL = "Cividis"
DIVERGING = "PuOr_r"
BASES = {"A": "#228833", "C": "#4477AA", "G": "#CC9900", "T": "#EE6677"}


def category_style(place: int) -> tuple[str, str]:
    """Return colour and symbol of a category; of none, at place -1, grey circles."""
    if place < 0:
        return _UNLABELLED, "circle"
    round_number, colour = divmod(place, len(_CATEGORIES))
    return _CATEGORIES[colour], _SYMBOLS[round_number % len(_SYMBOLS)]
