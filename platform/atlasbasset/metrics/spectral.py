"""SnapATAC2's spectral embedding, where that package is installed (extra ``peers``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anndata
import numpy as np
import scipy.sparse as sp

from atlasbasset.extras import needed

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["spectral"]


def spectral(labels: sp.sparray | sp.spmatrix, *, dim: int = 30) -> NDArray[np.float32]:
    """Return SnapATAC2's spectral embedding of cells, float32 (N, dim or fewer).

    Parameters
    ----------
    labels
        (N, P), sparse; what is not zero is open. All peaks are features.

    Raises
    ------
    MissingExtraError
        snapatac2 is not installed.
    """
    snapatac2 = needed("snapatac2", extra="peers", purpose="SnapATAC2's spectral embedding")
    cells = anndata.AnnData(sp.csr_matrix(sp.csr_array(labels != 0).astype(np.float32)))
    found = snapatac2.tl.spectral(cells, n_comps=dim, features=None, inplace=False)
    return np.asarray(found[1], np.float32)
