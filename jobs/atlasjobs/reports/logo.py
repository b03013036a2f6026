"""Sequence logos of an ISM result as files; `atlasbasset.pl` draws them."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from atlasbasset.extras import needed
from atlasbasset.pl.logo import draw_region, region_in_reading_order
from atlasstore.errors import UserInputError
from atlasstore.events import Progress, ignore
from atlasstore.files import urls

if TYPE_CHECKING:
    from pathlib import Path

    from atlasstore.events import Subscriber
    from atlasstore.results.ism_result import IsmResult

__all__ = ["check_logos", "save_logos"]

_STAGE = "drawing logos"


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
    result: IsmResult,
    folder: str | Path,
    *,
    most_bp: int = 120,
    on_event: Subscriber = ignore,
) -> list[str]:
    """Draw each region's logo in every group, one PNG a region.

    Of a region longer than `most_bp` the stretch that matters most is shown; of more than 12
    groups the 12 in which a base matters most.

    Parameters
    ----------
    result
        With groups of cells.
    folder
        Path or URL; a file there of the same name is replaced.
    most_bp
        Bases of a picture.
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
    for row in range(result.n_regions):
        region = result.regions.iloc[row]
        figure = Figure(dpi=110, layout="constrained")
        drawn = region_in_reading_order(result, row, columns)
        draw_region(figure, region, *drawn, names, most_bp=most_bp)
        made.append(urls.join(folder, f"{_file_name(str(region.name))}.png"))
        _save(figure, made[-1])
        on_event(Progress(_STAGE, len(made), result.n_regions, "regions"))
    return made


def _file_name(region: str) -> str:
    """Return a name that every file system takes."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in region)


def _save(figure: Figure, url: str) -> None:
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a group name with letters the font lacks
        figure.savefig(content, format="png")
    urls.write_bytes(url, content.getvalue())
