"""Checks that new cells fit an atlas: the same peaks, other names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from atlasstore.errors import PeaksError, UserInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from atlasstore.atlas.atlas import Atlas

__all__ = ["peak_rows_of", "refuse_known"]


def peak_rows_of(atlas: Atlas, peaks: pd.DataFrame, *, name: str) -> NDArray[np.int32]:
    """Return the atlas's row of each of an input's peaks, -1 for a peak it does not have.

    Raises
    ------
    PeaksError
        When the input lacks peaks of the atlas.
    """
    places = [_places(table) for table in (atlas.var, peaks)]
    rows = places[0].get_indexer(places[1]).astype(np.int32)
    lacking = np.flatnonzero(~np.isin(np.arange(atlas.n_peaks), rows))
    if lacking.size:
        first = ", ".join(f"{c}:{s}-{e}" for c, s, e in places[0][lacking[:3]])
        raise PeaksError(
            f"{name} has {atlas.n_peaks - lacking.size:,} of the {atlas.n_peaks:,} peaks of "
            f"{atlas.url}; it lacks {lacking.size:,} ({first}{', ...' if lacking.size > 3 else ''})"
            ". Count it on the atlas's peaks, or make a new atlas of all samples."
        )
    return rows


def refuse_known(atlas: Atlas, obs: pd.DataFrame) -> None:
    """Raise UserInputError when a sample or a cell of `obs` is in the atlas already."""
    known = set(atlas.obs["sample"].astype(str)) & set(obs["sample"].astype(str))
    if known:
        raise UserInputError(
            f"{atlas.url} has a sample {min(known)} already; give another name (--samples), or "
            "leave that input out."
        )
    twice = obs.index[obs.index.isin(atlas.obs.index)]
    if len(twice):
        raise UserInputError(
            f"{atlas.url} has a cell {twice[0]} already ({len(twice):,} in all); give the samples "
            "other names (--samples)."
        )


def _places(table: pd.DataFrame) -> pd.MultiIndex:
    columns = [table["chrom"].astype(str), table["start"], table["end"]]
    return pd.MultiIndex.from_arrays(columns)
