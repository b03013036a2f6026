"""Which features of a 10x matrix are peaks: multiome matrices hold genes too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from atlasstore.errors import CountsError
from atlasstore.events import Notice, Subscriber, ignore
from atlasstore.genome.peaks import are_coordinates

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["peak_rows"]


def peak_rows(
    types: npt.NDArray[np.object_],
    *,
    names: npt.NDArray[np.object_],
    name: str,
    has_places: bool = False,
    on_event: Subscriber = ignore,
) -> npt.NDArray[np.int64] | None:
    """Return the rows that are peaks, int64; None when all are.

    They are of the type ``Peaks``. Where there is none, those of the types whose names are
    coordinates throughout, whatever the types are called.

    Parameters
    ----------
    types, names
        Of each feature.
    name
        The input's name for messages.
    has_places
        Whether coordinates stand elsewhere: features of one type are peaks then.
    on_event
        Hears how many other features are left out.

    Raises
    ------
    CountsError
        When no feature is a peak.
    """
    wanted = {"Peaks"} if (types == "Peaks").any() else _with_coordinates(types, names)
    if not wanted and has_places and not _is_expression(types):
        wanted = set(types)
    rows = np.flatnonzero(np.isin(types.astype(str), list(wanted)))
    if rows.size == len(types):
        return None
    others = ", ".join(sorted(set(types) - wanted))
    if rows.size == 0:
        raise CountsError(
            f"{name} has no features of type Peaks (it has {others}), and the names of no type are "
            "coordinates such as chr1:100-200; give a chromatin accessibility matrix."
        )
    on_event(
        Notice(
            f"{name}: {rows.size:,} peaks kept, {len(types) - rows.size:,} other features "
            f"left out ({others})."
        )
    )
    return rows


def _with_coordinates(types: npt.NDArray[np.object_], names: npt.NDArray[np.object_]) -> set[str]:
    placed = are_coordinates(names)
    return set(types) - set(types[~placed])


def _is_expression(types: npt.NDArray[np.object_]) -> bool:
    """Whether features are of several types, or genes."""
    found = {str(one).lower() for one in types}
    return len(found) != 1 or bool(found & {"gene expression", "gex", "gene"})
