"""Which features of a 10x matrix are peaks: multiome matrices hold genes too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from atlasstore.errors import CountsError
from atlasstore.events import Notice, Subscriber, ignore

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["peak_rows"]


def peak_rows(
    types: npt.NDArray[np.object_], *, name: str, on_event: Subscriber = ignore
) -> npt.NDArray[np.int64] | None:
    """Return the rows whose feature type is ``Peaks``, int64; None when all are.

    Raises
    ------
    CountsError
        When no feature is a peak.
    """
    rows = np.flatnonzero(types == "Peaks")
    if rows.size == len(types):
        return None
    others = ", ".join(sorted(set(types[types != "Peaks"])))
    if rows.size == 0:
        raise CountsError(
            f"{name} has no features of type Peaks (it has {others}); give a chromatin "
            "accessibility matrix."
        )
    on_event(
        Notice(
            f"{name}: {rows.size:,} peaks kept, {len(types) - rows.size:,} other features "
            f"left out ({others})."
        )
    )
    return rows
