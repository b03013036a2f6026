"""Maps of cells (UMAP, t-SNE, ...) out of an AnnData that was made after the model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from atlasstore.errors import UserInputError
from atlasstore.files import urls
from atlasstore.inputs.anndata_input import read_obs, read_obsm
from atlasstore.zarrio.names import EMBEDDING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import anndata
    from numpy.typing import NDArray

    from atlasbasset.inference.cell_labels import Obs

__all__ = ["joined_maps"]

Maps = dict[str, "NDArray[np.float32]"]

_MOST_DIMS = 3
"""Of what is taken unasked: maps to look at, not principal components."""
_ANNDATA = (".h5ad", ".zarr")


def joined_maps(
    cells: pd.Index[Any], source: Obs | anndata.AnnData, *, keys: Sequence[str] | None = None
) -> Maps:
    """Return maps for `cells`, matched by name; a cell that the source lacks lies nowhere (NaN).

    Parameters
    ----------
    cells
        Names of the cells.
    source
        An AnnData, or the path or URL of one; a table of text has none.
    keys
        Which arrays of obsm; by default those of at most 3 dimensions but the model's own
        embedding.

    Returns
    -------
    dict
        Key -> float32 (cells, dims).

    Raises
    ------
    UserInputError
        A key is not there, or names the model's own embedding.
    """
    names, found = _arrays(source, None if keys else _MOST_DIMS)
    if keys is None:
        keys = [key for key in found if key != EMBEDDING]
    for key in keys:
        if key not in found or key == EMBEDDING:
            known = ", ".join(found) or "none"
            why = "is the model's own" if key == EMBEDDING else f"is not there; it has {known}"
            raise UserInputError(f"obsm[{key!r}] {why}: name another array of the cells' AnnData.")
    rows = names.get_indexer(cells.astype(str))
    return {str(key): _placed(found[key], rows) for key in keys}


def _arrays(
    source: Obs | anndata.AnnData, most_dims: int | None
) -> tuple[pd.Index[Any], dict[str, NDArray[Any]]]:
    if isinstance(source, pd.DataFrame):
        return source.index.astype(str), {}
    if not isinstance(source, str | Path):
        return source.obs_names.astype(str), {
            key: value
            for key, value in source.obsm.items()
            if isinstance(value, np.ndarray)
            and value.ndim == 2
            and (most_dims is None or value.shape[1] <= most_dims)
        }
    if not urls.path_end(source).endswith(_ANNDATA):
        return pd.Index([], dtype=object), {}
    return read_obs(source).index, read_obsm(source, most_dims=most_dims)


def _placed(values: NDArray[Any], rows: NDArray[np.intp]) -> NDArray[np.float32]:
    placed = np.full((len(rows), values.shape[1]), np.nan, np.float32)
    placed[rows >= 0] = values[rows[rows >= 0]]
    return placed
