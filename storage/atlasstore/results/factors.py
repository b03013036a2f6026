"""Predictions from factors: which factors a result has, and a block of values from a part of them.

X = left @ right.T, then the scale. In most kinds of result rows are cells and columns are
sequences (peaks, genes); in mutagenesis and variants it is the other way round. Batch terms of a
batch-corrected model are never part of it (docs/method.md, "Denoising").
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlasstore.zarrio.names import EMBEDDING, SEQUENCE

if TYPE_CHECKING:
    from collections.abc import Container

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["factor_names", "on_scale"]


def factor_names(obsm: Container[str], varm: Container[str]) -> tuple[str, str] | None:
    """Return the names of the two factors in obsm and varm; None where one is absent."""
    for left, right in ((EMBEDDING, SEQUENCE), (SEQUENCE, EMBEDDING)):
        if left in obsm and right in varm:
            return left, right
    return None


def on_scale(
    scale: str,
    left: NDArray[np.float32],
    right: NDArray[np.float32],
    intercept: NDArray[np.float32] | None,
) -> NDArray[np.float32]:
    """Return a block of X.

    Parameters
    ----------
    scale
        "linear", "sigmoid" or "probability".
    left, right
        Factors of the block's rows (n, E) and columns (p, E).
    intercept
        Of the rows, (n,), on the scale "probability"; None on the others.

    Returns
    -------
    numpy.ndarray
        float32, shape (n, p).
    """
    from scipy.special import expit  # takes 0.2 s, and what lists a result's tables needs it not

    block: NDArray[np.float32] = left @ right.T
    if scale == "linear":
        return block
    if intercept is not None:
        block += intercept[:, None]
    return expit(block, out=block)  # type: ignore[no-any-return]
