"""Values that a result stores in 256 steps (``denoise --dtype uint8``), and what they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from numpy.typing import NDArray

    from atlasstore.results.result import Result

__all__ = ["decoded_steps", "is_encoded", "without_encoding"]

_SCALE, _OFFSET = "scbasset_scale", "scbasset_offset"
_MEANING = "value"
"""In what a result says of itself: how a step becomes a number."""


def is_encoded(result: Result) -> bool:
    """Whether X holds steps."""
    return result.has("X") and result.table("X").dtype == np.uint8 and _MEANING in result.about


def decoded_steps(
    result: Result, steps: NDArray[np.uint8], columns: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return what steps of some columns stand for.

    Parameters
    ----------
    result
        One that `is_encoded`.
    steps
        uint8, shape (n, len(columns)).
    columns
        Which columns of X they are of.

    Returns
    -------
    numpy.ndarray
        float32, shape (n, len(columns)).
    """
    if _SCALE not in result.var:
        return steps.astype(np.float32) / np.float32(255)
    scale, offset = (result.var[name].to_numpy(np.float32)[columns] for name in (_SCALE, _OFFSET))
    return np.asarray(steps * scale + offset)


def without_encoding(
    var: pd.DataFrame, about: Mapping[str, Any]
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return columns and description of a result without what steps stand for."""
    said = {name: value for name, value in about.items() if name != _MEANING}
    return var.drop(columns=[_SCALE, _OFFSET], errors="ignore"), said
