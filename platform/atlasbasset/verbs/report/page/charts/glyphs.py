"""Letters as outlines, so that a logo is drawn by plotly alone, sharp at any size."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["outline", "placed"]


@cache
def outline(letter: str) -> NDArray[np.float64]:
    """Return a letter's outline in the unit square, float64 (points, 2), closed.

    A hole is joined to the letter around it by a line there and back.
    """
    path = TextPath((0, 0), letter, size=1, prop=FontProperties(weight="bold"))
    parts = [np.asarray(part, np.float64) for part in path.to_polygons(closed_only=True)]
    polygons = sorted(parts, key=len, reverse=True)
    joined = np.concatenate([*polygons, *(polygon[-1:] for polygon in polygons[-2::-1])])
    low, high = joined.min(axis=0), joined.max(axis=0)
    return np.asarray((joined - low) / (high - low))


def placed(
    letter: str, places: NDArray[np.float64], heights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return outlines of one letter at several places, NaN between them.

    Parameters
    ----------
    places
        Middle of each, float64 (n,); a letter is 0.92 wide.
    heights
        float64 (n,); below zero the letter hangs, upright.

    Returns
    -------
    x, y
        float64, each (n x (points + 1),).
    """
    shape = outline(letter)
    x = places[:, None] + 0.92 * (shape[:, 0] - 0.5)
    y = np.where(heights[:, None] >= 0, shape[:, 1], shape[:, 1] - 1) * np.abs(heights)[:, None]
    gap = np.full((len(places), 1), np.nan)
    return np.hstack([x, gap]).ravel(), np.hstack([y, gap]).ravel()
