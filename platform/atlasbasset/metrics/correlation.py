"""How closely the model's intercepts track sequencing depth.

Source: paper, Supplementary Fig. 4. The closer to 1, the better depth is kept out of the embedding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["depth_correlation"]


def depth_correlation(intercept: NDArray[np.floating], depth: NDArray[np.number]) -> float:
    """Compute Pearson's correlation of intercept and log10 depth over cells.

    Parameters
    ----------
    intercept
        Shape (N,): the cell layer's intercepts.
    depth
        Shape (N,): accessible peaks (or fragments) per cell. Cells of depth 0 have no logarithm and
        are left out, as are cells with NaN in either.

    Returns
    -------
    float
        In -1..1; NaN with fewer than two cells left or where either does not vary.

    Raises
    ------
    ValueError
        The two are not vectors of one length, or a depth is negative.
    """
    x, y = np.asarray(intercept, np.float64), np.asarray(depth, np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(
            f"Intercept and depth are one number per cell each, not {x.shape} and {y.shape}."
        )
    if (y < 0).any():
        raise ValueError(f"Depth is a count of 0 or more; the smallest is {y.min()}.")
    known = np.isfinite(x) & (y > 0) & np.isfinite(y)
    return _pearson(x[known], np.log10(y[known]))


def _pearson(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    if x.size < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    x, y = x - x.mean(), y - y.mean()
    return float(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1.0, 1.0))
