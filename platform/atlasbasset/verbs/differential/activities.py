"""Differential TF activity: every motif's effect against the draw of cells, and against copies.

Source: docs/differential.md, "The test of a motif".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import t as student

from atlasbasset.verbs.differential.activity_effects import activity_effects, cell_design
from atlasbasset.verbs.differential.moderation import moderate
from atlasbasset.verbs.differential.peaks import q_values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from atlasbasset.verbs.differential.activity_effects import ActivityEffects
    from atlasbasset.verbs.differential.design import Contrast
    from atlasstore.events import Subscriber
    from atlasstore.files.table_file import ColumnType
    from atlasstore.results.reader import ResultReader

__all__ = ["MOTIF_COLUMNS", "test_motifs"]

MOTIF_COLUMNS: dict[str, ColumnType] = {
    "motif": "text",
    "tf": "text",
    "group": "text",
    "reference": "text",
    "effect": "float64",
    "shuffled_effect": "float64",
    "standard_error": "float64",
    "cells_p": "float64",
    "p": "float64",
    "q": "float64",
}


def test_motifs(
    contrasts: Sequence[Contrast],
    activity: ResultReader,
    codes: NDArray[np.int64],
    covariates: NDArray[np.int64],
    depth: NDArray[np.float64],
    names: Sequence[str],
    *,
    shuffled: ResultReader | None,
    on_event: Subscriber,
) -> list[pd.DataFrame]:
    """Test every motif in every contrast.

    Parameters
    ----------
    codes, covariates, depth
        (N,), (N, C) and (N,): label, covariates and depth of each cell; -1 for none.
    shuffled
        Activity of copies ``NAME~1`` ... of each motif, its positions shuffled.

    Returns
    -------
    list of pandas.DataFrame
        For each contrast a row per motif: ``effect`` in sd of the activity over all cells,
        ``shuffled_effect``, the mean of its copies, ``standard_error`` of the difference of the
        two, ``cells_p`` of the draw of cells alone, ``p``, ``q``. Without `shuffled` the effect is
        held to 0, its error is that of the cells alone, and so is ``p``.
    """
    designs = [cell_design(one, codes, covariates, depth, names) for one in contrasts]
    found = activity_effects(designs, activity, on_event=on_event)
    freedom = [design.n_fewest - 1 for design in designs]
    if shuffled is None:
        return [_against_cells(one, free) for one, free in zip(found, freedom, strict=True)]
    copies = activity_effects(designs, shuffled, on_event=on_event)
    pairs = zip(found, copies, freedom, strict=True)
    return [_against_copies(*one) for one in pairs]


def _against_cells(found: ActivityEffects, freedom: int) -> pd.DataFrame:
    p = _p(found.effect / found.error, freedom)
    return _table(found, np.full(len(found.sd), np.nan), found.error, p, p)


def _against_copies(found: ActivityEffects, copies: ActivityEffects, freedom: int) -> pd.DataFrame:
    """Hold each motif's effect to those of its own copies, as one more of the same normal draw."""
    of_motif = pd.Series(copies.effect).groupby([name.rpartition("~")[0] for name in copies.names])
    mean, variance, n = (
        of_motif.agg(how)[list(found.names)].to_numpy(np.float64) for how in ("mean", "var", "size")
    )
    held = moderate(variance, n - 1)
    error = np.sqrt(held.variance * (1 + 1 / n) + found.error**2)
    p = _p((found.effect - mean) / error, held.freedom)
    return _table(found, mean, error, _p(found.effect / found.error, freedom), p)


def _p(t: NDArray[np.float64], freedom: NDArray[np.float64] | int) -> NDArray[np.float64]:
    return np.asarray(2 * student.sf(np.abs(t), np.maximum(freedom, 1)))


def _table(
    found: ActivityEffects,
    shuffled: NDArray[np.float64],
    error: NDArray[np.float64],
    cells_p: NDArray[np.float64],
    p: NDArray[np.float64],
) -> pd.DataFrame:
    with np.errstate(divide="ignore", invalid="ignore"):
        values = {
            "effect": found.effect / found.sd,
            "shuffled_effect": shuffled / found.sd,
            "standard_error": error / found.sd,
        }
    return pd.DataFrame({**values, "cells_p": cells_p, "p": p, "q": q_values(p)})
