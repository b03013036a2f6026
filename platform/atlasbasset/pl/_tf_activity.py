"""`tf_activity`: the TFs that set groups of cells apart, or TFs on a map of the cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from atlasstore.errors import UserInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData
    from matplotlib.axes import Axes

__all__ = ["tf_activity"]

_COLOURS = "RdBu_r"
_SPREAD = 3.0
"""z-scores that have the strongest colour on a map."""


def tf_activity(
    adata: AnnData,
    tfs: str | Sequence[str] | None = None,
    *,
    groupby: str | None = None,
    basis: str = "X_umap",
    key: str = "tf_activity",
    n_top: int = 5,
    ax: Axes | None = None,
) -> Axes:
    """Draw TF activity: a heat map of groups x TFs, or one TF on a map of the cells.

    Parameters
    ----------
    adata
        After `atlasbasset.tl.motif_activity`, or what `atlasbasset.motif_activity` wrote, read by
        `anndata.read_zarr` (its variables are TFs).
    tfs
        TFs to draw. With `groupby`, by default the `n_top` of each group whose raw activity is
        highest above that of the other groups; without it, one.
    groupby
        Column of `obs`; a heat map of its groups is drawn.
    basis
        Key of `obsm` with the map, without `groupby`.
    key
        Where `atlasbasset.tl.motif_activity` wrote.
    n_top
        TFs of each group.
    ax
        Where to draw; new axes by default.

    Returns
    -------
    matplotlib.axes.Axes
        The heat map: mean z-score of each group. The map: each cell's z-score, from -3 to 3.

    Examples
    --------
    >>> ax = ab.pl.tf_activity(adata, groupby="leiden")  # doctest: +SKIP
    >>> ax = ab.pl.tf_activity(adata, "GATA1", basis="X_umap")  # doctest: +SKIP

    Raises
    ------
    UserInputError
        There is no such activity, TF, column or map.
    """
    z, spread = _activity(adata, key)
    wanted = [tfs] if isinstance(tfs, str) else tfs
    if unknown := [tf for tf in wanted or () if tf not in z]:
        some = ", ".join(map(str, z.columns[:5]))
        raise UserInputError(f"there is no TF {unknown[0]!r}; there are {some}, ...")
    if groupby is None:
        if wanted is None or len(wanted) != 1:
            raise UserInputError(
                "name one TF to draw on a map of the cells, or give groupby= for a heat map."
            )
        return _on_map(adata, z, wanted[0], basis, ax)
    means = _means(adata, z, groupby)
    return _heat_map(means[wanted or _top(means * spread, n_top)], groupby, ax)


def _activity(adata: AnnData, key: str) -> tuple[pd.DataFrame, pd.Series[Any]]:
    """Return z-scores, cells x TFs, and what one of each TF is in raw activity."""
    if key in adata.obsm:
        z = pd.DataFrame(adata.obsm[key], index=adata.obs_names)
        motifs = adata.uns["scbasset"][key]["motifs"]
        return z, pd.Series(np.asarray(motifs["sd"]), index=z.columns)
    if adata.uns.get("scbasset", {}).get("kind") == "tf_activity":
        z = pd.DataFrame(np.asarray(adata.X), index=adata.obs_names, columns=adata.var_names)
        return z, adata.var["sd"]
    raise UserInputError(
        f"adata has no obsm[{key!r}]; run atlasbasset.tl.motif_activity on it first."
    )


def _means(adata: AnnData, z: pd.DataFrame, groupby: str) -> pd.DataFrame:
    if groupby not in adata.obs:
        columns = ", ".join(map(str, adata.obs.columns))
        raise UserInputError(f"obs has no column {groupby!r}; its columns: {columns}.")
    return z.groupby(adata.obs[groupby], observed=True).mean()


def _top(raw: pd.DataFrame, n_top: int) -> list[str]:
    """Return the TFs that are highest above the other groups' mean, group by group, each once."""
    n_groups = max(len(raw) - 1, 1)
    above = raw - (raw.sum() - raw) / n_groups
    ranked = (above.loc[group].nlargest(n_top).index for group in above.index)
    return list(dict.fromkeys(tf for names in ranked for tf in names))


def _heat_map(means: pd.DataFrame, groupby: str, ax: Axes | None) -> Axes:
    if ax is None:
        size = (2 + 0.25 * means.shape[1], 1.4 + 0.25 * means.shape[0])
        ax = _new_axes(size)
    limit = float(np.abs(means.to_numpy()).max()) or 1.0
    drawn = ax.imshow(means, cmap=_COLOURS, vmin=-limit, vmax=limit, aspect="auto")
    ax.set_xticks(range(means.shape[1]), list(map(str, means.columns)), rotation=90, fontsize=8)
    ax.set_yticks(range(means.shape[0]), list(map(str, means.index)), fontsize=8)
    ax.set_ylabel(groupby)
    ax.figure.colorbar(drawn, ax=ax, label="mean z-score")
    return ax


def _on_map(adata: AnnData, z: pd.DataFrame, tf: str, basis: str, ax: Axes | None) -> Axes:
    if basis not in adata.obsm:
        known = ", ".join(adata.obsm) or "none"
        raise UserInputError(f"obsm has no {basis!r}; it has {known}.")
    ax = _new_axes((4.6, 3.8)) if ax is None else ax
    place = np.asarray(adata.obsm[basis])
    order = np.argsort(np.abs(z[tf].to_numpy()))
    size = max(1.0, min(20.0, 20_000 / adata.n_obs))
    drawn = ax.scatter(
        place[order, 0],
        place[order, 1],
        c=z[tf].to_numpy()[order],
        s=size,
        cmap=_COLOURS,
        vmin=-_SPREAD,
        vmax=_SPREAD,
        linewidths=0,
    )
    ax.set_title(tf)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.figure.colorbar(drawn, ax=ax, label="activity, z-score")
    return ax


def _new_axes(size: tuple[float, float]) -> Axes:
    from matplotlib import pyplot

    return pyplot.subplots(figsize=size, layout="constrained")[1]
