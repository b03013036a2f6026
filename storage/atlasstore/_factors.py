"""Predictions from factors: which factors a result has, and a block of values from a part of them.

X = left @ right.T, then the scale. In most kinds of result rows are cells and columns are
sequences (peaks, genes); in mutagenesis and variants it is the other way round.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scipy.special import expit

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["BATCH", "CELLS", "INTERCEPT", "SEQUENCES", "acting", "factor_names", "on_scale"]

CELLS, SEQUENCES = "X_scbasset", "scbasset_sequence"
INTERCEPT, BATCH = "scbasset_intercept", "scbasset_batch"


def factor_names(obsm: Container[str], varm: Container[str]) -> tuple[str, str] | None:
    """Return the names of the two factors in obsm and varm; None where one is absent."""
    for left, right in ((CELLS, SEQUENCES), (SEQUENCES, CELLS)):
        if left in obsm and right in varm:
            return left, right
    return None


def acting(
    about: Mapping[str, Any],
    cells: NDArray[np.float32],
    columns: Mapping[str, NDArray[Any]],
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Return the factors (n, E) and offsets (n, 1) of cells as they act on a scale.

    Parameters
    ----------
    about
        ``uns["scbasset"]``: scale, and batch terms where the model has them.
    cells
        Embeddings, (n, E).
    columns
        The cells' intercept and, with batch terms, batch; (n,) each.
    """
    if about.get("scale", "linear") != "probability":
        return cells, None
    offset = columns[INTERCEPT][:, None]
    if "batch_embedding" not in about:
        return cells, offset
    batch = columns[BATCH].astype("int64")
    return cells + about["batch_embedding"][batch], offset + about["batch_intercept"][batch, None]


def on_scale(
    about: Mapping[str, Any],
    left: NDArray[np.float32],
    offset: NDArray[np.float32] | None,
    right: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Return a block of X: float32 (len(left), len(right))."""
    block: NDArray[np.float32] = left @ right.T
    if about.get("scale", "linear") == "linear":
        return block
    if offset is not None:
        block += offset
    return expit(block, out=block)  # type: ignore[no-any-return]
