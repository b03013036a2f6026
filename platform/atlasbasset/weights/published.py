"""The one shape all weight formats are turned into and out of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["PublishedWeights"]


@dataclass(frozen=True, slots=True)
class PublishedWeights:
    """A whole model, float32, in this project's names and orders."""

    trunk: dict[str, NDArray[Any]]
    """`Trunk.state_dict` names -> values."""
    embedding: NDArray[np.float32]
    """(N, E)."""
    intercept: NDArray[np.float32]
    """(N,)."""
    batch_embedding: NDArray[np.float32] | None = None
    """(n_batches, E); None without batch correction."""
    batch_intercept: NDArray[np.float32] | None = None
    """(n_batches,)."""
    batch: NDArray[np.int64] | None = None
    """(N,), each cell's batch, where the file tells."""
    obs_names: tuple[str, ...] | None = None
    """(N,), the cells, where the file names them."""
    batches: tuple[str, ...] | None = None
    """(n_batches,), the batches, where the file names them."""
    stem_pool_lead: int = 0
    """Positions before the sequence at which the stem's max-pool begins: 1 in scvi-tools' port."""
