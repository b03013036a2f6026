"""`ism_logo`: which bases of a region matter, in which groups of cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlasbasset.inference.selection import named_rows
from atlasbasset.pl.logo import draw_region, region_in_reading_order
from atlasstore.results.ism_result import IsmResult

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["ism_logo"]


def ism_logo(
    result: str | Path | IsmResult,
    region: str | int = 0,
    *,
    groups: Sequence[str] | None = None,
    most_bp: int = 120,
    figure: Figure | None = None,
) -> list[Axes]:
    """Draw a region's sequence logo in each group of cells.

    Parameters
    ----------
    result
        What `atlasbasset.ism` wrote, or its path or URL.
    region
        Name of a region (``chr1:100-400``), or its row.
    groups
        Groups of cells, or cells; all groups by default.
    most_bp
        Positions to show at most: the run that matters most.
    figure
        An empty figure to draw into, a new one by default; it is made as large as the logos need.

    Returns
    -------
    list of matplotlib.axes.Axes
        One for each group. The height of a letter is the importance of its base: the change of
        accessibility (linear scale) by it, less the mean of the four bases.

    Examples
    --------
    >>> axes = ab.pl.ism_logo("ism.zarr", "chr1:1000-1200", groups=["T"])  # doctest: +SKIP
    >>> axes[0].figure.savefig("logo.pdf")  # doctest: +SKIP

    Raises
    ------
    UserInputError
        There is no such region or group.
    MissingExtraError
        logomaker is not installed.
    """
    opened = result if isinstance(result, IsmResult) else IsmResult.open(result)
    row = _row(opened, region)
    columns = opened.columns(groups)
    codes, matters = region_in_reading_order(opened, row, columns)
    if figure is None:
        from matplotlib import pyplot

        figure = pyplot.figure(layout="constrained")
    names = [str(name) for name in opened.groups.index[columns]]
    return draw_region(figure, opened.regions.iloc[row], codes, matters, names, most_bp=most_bp)


def _row(result: IsmResult, region: str | int) -> int:
    if isinstance(region, int):
        region = str(result.regions.index[region])
    return int(named_rows(result.regions.index, [region], unit="regions")[0])
