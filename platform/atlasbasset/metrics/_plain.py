"""Numbers as JSON has them: plain floats, and None where there is nothing to average."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["JsonDict", "mean_of_known", "plain"]

JsonDict = dict[str, object]
"""What `json.dumps` takes as it is: str keys; values are float, int, str, None, lists and dicts."""


def plain(value: float) -> float | None:
    """Turn a numpy number into a float; NaN, which JSON lacks, into None."""
    return None if np.isnan(value) else float(value)


def mean_of_known(values: NDArray[np.float64]) -> float:
    """Average the values that are not NaN; NaN where none is left."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
