"""Sequence logos of an ISM result: how much each base of a region matters in each group of cells.

The height of a letter is the importance of its base: the normalised score of the region's own base,
as in the paper's Figure 5f.
"""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from atlasbasset.extras import needed
from atlasstore.errors import UserInputError
from atlasstore.events import Progress, ignore
from atlasstore.files import urls
from atlasstore.genome.sequences import reverse_complement_codes
from atlasstore.results.ism_result import IsmResult, importance, most_important
from atlasstore.zarrio.blocks import runs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from atlasstore.events import Subscriber

__all__ = ["check_logos", "draw_logo", "save_logos"]

_STAGE = "drawing logos"
_MOST_BP = 120
_MOST_GROUPS = 12
_READ_REGIONS = 16
_COLOURS = {"A": "#228833", "C": "#4477AA", "G": "#CCBB44", "T": "#EE6677"}
_INCHES_PER_BP, _INCHES_PER_GROUP = 0.11, 1.1


def check_logos(folder: str, group_by: str | None) -> None:
    """Raise unless logos can be drawn, before any work is done.

    Parameters
    ----------
    folder
        Where they would go.
    group_by
        What cells are grouped by; None where they are not.

    Raises
    ------
    UserInputError
        Cells are not grouped.
    MissingExtraError
        logomaker is not installed.
    """
    needed("logomaker", extra="interpret", purpose="Drawing logos")
    if group_by is None:
        raise UserInputError(
            f"logos are drawn for groups of cells; give --group-by, or leave out --plot {folder}."
        )


def save_logos(
    result: IsmResult, folder: str | Path, *, on_event: Subscriber = ignore
) -> list[str]:
    """Draw each region's logo in every group, one PNG a region.

    Of more than 120 bp the 120 that matter most are shown; of more than 12 groups the 12 in which
    a base matters most.

    Parameters
    ----------
    result
        With groups of cells.
    folder
        Path or URL; a file there of the same name is replaced.
    on_event
        Called with each `Progress`.

    Returns
    -------
    list of str
        URLs of the pictures.
    """
    columns, made = result.columns(), []
    names = [str(name) for name in result.groups.index]
    on_event(Progress(_STAGE, 0, result.n_regions, "regions"))
    for start, stop in runs(result.n_regions, _READ_REGIONS):
        codes = result.codes(start, stop)
        matters = importance(result.scores(start, stop, columns), codes)
        for row in range(stop - start):
            region = result.regions.iloc[start + row]
            drawn = codes[row], matters[row]
            if region.get("strand") == "-":  # logos run along the chromosome
                drawn = reverse_complement_codes(codes[row]), matters[row][::-1]
            figure = _figure(region, *drawn, names)
            made.append(urls.join(folder, f"{_file_name(str(region.name))}.png"))
            _save(figure, made[-1])
            on_event(Progress(_STAGE, len(made), result.n_regions, "regions"))
    return made


def _figure(
    region: pd.Series[Any],
    codes: NDArray[np.uint8],
    matters: NDArray[np.float32],
    names: Sequence[str],
) -> Figure:
    """Draw one region: a row of letters per group, all on one scale."""
    first, last = most_important(matters, _MOST_BP)
    shown = np.sort(np.argsort(-np.abs(matters[first:last]).max(0), kind="stable")[:_MOST_GROUPS])
    begin = int(region["span_start"]) + first
    width, height = 1.6 + _INCHES_PER_BP * (last - first), 0.9 + _INCHES_PER_GROUP * len(shown)
    figure = Figure(figsize=(max(4, width), height), dpi=110, layout="constrained")
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
    return figure


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


def _file_name(region: str) -> str:
    """Return a name that every file system takes."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in region)


def _save(figure: Figure, url: str) -> None:
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a group name with letters the font lacks
        figure.savefig(content, format="png")
    urls.write_bytes(url, content.getvalue())
