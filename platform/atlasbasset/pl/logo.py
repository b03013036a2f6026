"""Sequence logos: how much each base of a region matters in each group of cells.

The height of a letter is the importance of its base: the normalised score of the region's own base,
as in the paper's Figure 5f.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from atlasbasset.extras import needed
from atlasstore.genome.sequences import reverse_complement_codes
from atlasstore.results.ism_result import importance, most_important

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from atlasstore.results.ism_result import IsmResult

__all__ = ["draw_logo", "draw_region", "region_in_reading_order"]

_MOST_GROUPS = 12
_COLOURS = {"A": "#228833", "C": "#4477AA", "G": "#CCBB44", "T": "#EE6677"}
_INCHES_PER_BP, _INCHES_PER_GROUP = 0.11, 1.1


def region_in_reading_order(
    result: IsmResult, row: int, columns: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return a region's bases (L,) and their importance (L, G), along the chromosome."""
    codes = result.codes(row, row + 1)[0]
    matters = importance(result.scores(row, row + 1, columns)[0], codes)
    if result.regions.iloc[row].get("strand") == "-":
        return reverse_complement_codes(codes), matters[::-1]
    return codes, matters


def draw_region(
    figure: Figure,
    region: pd.Series[Any],
    codes: NDArray[np.uint8],
    matters: NDArray[np.float32],
    names: Sequence[str],
    *,
    most_bp: int,
) -> list[Axes]:
    """Draw one region into an empty figure: a row of letters per group, all on one scale.

    Of more than `most_bp` positions those that matter most are shown; of more than 12 groups the 12
    in which a base matters most.
    """
    first, last = most_important(matters, most_bp)
    shown = np.sort(np.argsort(-np.abs(matters[first:last]).max(0), kind="stable")[:_MOST_GROUPS])
    begin = int(region["span_start"]) + first
    width, height = 1.6 + _INCHES_PER_BP * (last - first), 0.9 + _INCHES_PER_GROUP * len(shown)
    figure.set_size_inches(max(4, width), height)
    axes = figure.subplots(len(shown), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for ax, group in zip(axes, shown, strict=True):
        draw_logo(codes[first:last], matters[first:last, group], start=begin, ax=ax)
        ax.set_title(names[group], loc="left", fontsize=9)
    bottom, top = matters[first:last, shown].min(), matters[first:last, shown].max()
    if top > bottom:
        axes[0].set_ylim(min(0, bottom) * 1.05, max(0, top) * 1.05)
    axes[-1].set_xlabel(f"position on {region['chrom']}, bp, 0-based")
    figure.suptitle(str(region.name), fontsize=10)
    figure.supylabel("importance (change of accessibility, linear scale)", fontsize=8)
    return list(axes)


def draw_logo(
    codes: NDArray[np.uint8], matters: NDArray[np.float32], *, start: int, ax: Axes
) -> Axes:
    """Draw one group's logo.

    Parameters
    ----------
    codes
        uint8 (L,), 0..4; unknown bases have no letter.
    matters
        float32 (L,): importance of each position.
    start
        Position of the first base on the chromosome, 0-based.
    ax
        Where.

    Returns
    -------
    Axes
        `ax`.
    """
    logomaker = needed("logomaker", extra="interpret", purpose="Drawing logos")
    heights = np.where(codes[:, None] == np.arange(4), matters[:, None], 0)
    table = pd.DataFrame(heights, columns=list("ACGT"), index=np.arange(start, start + len(codes)))
    logomaker.Logo(table, ax=ax, color_scheme=_COLOURS, flip_below=False, show_spines=False)
    ax.spines["left"].set_visible(True)
    ax.set_xlim(start - 0.5, start + len(codes) - 0.5)
    ax.ticklabel_format(axis="x", style="plain", useOffset=False)
    ax.tick_params(labelsize=7)
    return ax
