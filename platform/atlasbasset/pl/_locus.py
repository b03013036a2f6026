"""A figure of one locus: tracks of groups, mutagenesis and genes below one another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from atlasbasset.verbs.shared.track_set import TrackSet
from atlasstore.atlas.regions import is_reverse
from atlasstore.errors import UserInputError
from atlasstore.genome.genes import gene_bodies
from atlasstore.results.ism_result import IsmResult, importance

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from atlasbasset.verbs.shared.regions import Region

__all__ = ["locus"]

_MOST_BINS = 2000
"""Values of a track that are drawn; more would lie within a pixel."""
_OBSERVED = "#8a8f98"
_INK = "#4a5568"


def locus(
    tracks: str | Path,
    region: str,
    *,
    groups: Sequence[str] | None = None,
    kinds: Sequence[str] | None = None,
    ism: str | Path | IsmResult | None = None,
    genes: str | Path | None = None,
    width: float = 8.0,
) -> Figure:
    """Draw a locus: tracks of groups of cells, mutagenesis and genes.

    Parameters
    ----------
    tracks
        Path or URL of a folder that `atlasbasset.tracks` made.
    region
        ``chr1:1000-2000``, 0-based half-open, or a chromosome.
    groups, kinds
        Which groups, and which of their tracks ("denoised", "observed", "predicted"), in the order
        given; all by default.
    ism
        An ISM result of groups, or its URL: the importance of the bases of its regions that lie
        here, for the same groups where it has them.
    genes
        GTF or GFF3, a path or URL.
    width
        Of the figure, inches.

    Returns
    -------
    matplotlib.figure.Figure
        One axes for each group and kind, then ISM, then genes; not shown, not registered with
        pyplot.

    Examples
    --------
    >>> locus("tracks", "chr1:1_000_000-1_040_000", genes="genes.gtf").savefig(
    ...     "locus.png")  # doctest: +SKIP

    Raises
    ------
    NotAStoreError
        There are no tracks in the folder.
    UserInputError
        The region, a group or a kind is not there, or no region of `ism` lies here.
    MissingExtraError
        pybigtools is not installed.
    """
    folder = TrackSet.open(tracks)
    place = folder.region(region)
    names, wanted = folder.chosen(groups, kinds)
    shown = [(group, kind) for group in names for kind in wanted]
    opened = None if ism is None else ism if isinstance(ism, IsmResult) else IsmResult.open(ism)
    named = None if genes is None else _here(gene_bodies(genes), place)
    axes = _axes(len(shown), has_ism=opened is not None, has_genes=named is not None, width=width)
    _draw_tracks(axes[: len(shown)], folder, shown, place)
    rest = axes[len(shown) :]
    if opened is not None:
        _draw_ism(rest.pop(0), opened, names, place)
    if named is not None:
        _draw_genes(rest.pop(0), named)
    _finish(axes, place)
    figure: Figure = axes[0].figure  # type: ignore[assignment]
    return figure


def _axes(n_tracks: int, *, has_ism: bool, has_genes: bool, width: float) -> list[Axes]:
    from matplotlib.figure import Figure

    heights = [0.55] * n_tracks + [1.0] * has_ism + [0.7] * has_genes
    figure = Figure(figsize=(width, 0.7 + sum(heights)), layout="constrained")
    found = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)
    return list(found[:, 0])


def _draw_tracks(
    axes: Sequence[Axes], folder: TrackSet, shown: Sequence[tuple[str, str]], place: Region
) -> None:
    """Draw each track; those of one kind have one scale."""
    n_bins = min(_MOST_BINS, place.end - place.start)
    edges = np.linspace(place.start, place.end, n_bins + 1)
    found = [
        np.nan_to_num(folder.values(group, kind, place, bins=n_bins, summary="max"))
        for group, kind in shown
    ]
    for one, (group, kind), values in zip(axes, shown, found, strict=True):
        colour = _OBSERVED if kind == "observed" else folder.groups[group]["colour"]
        one.stairs(values, edges, fill=True, color=colour)
        same = [v for v, (_, other) in zip(found, shown, strict=True) if other == kind]
        one.set_ylim(0, 1.05 * (max(float(v.max()) for v in same) or 1.0))
        if not values.any():
            one.text(0.5, 0.5, "no values here", transform=one.transAxes, fontsize=7, ha="center")
        one.set_ylabel(f"{group}\n{kind}", rotation=0, ha="right", va="center", fontsize=8)
        one.locator_params(axis="y", nbins=2)


def _draw_ism(one: Axes, ism: IsmResult, groups: Sequence[str], place: Region) -> None:
    """Draw the importance of each base, mean over the groups where the result has them."""
    table = ism.regions
    inside = (table["chrom"].astype(str) == place.chrom) & (table["end"] > place.start)
    rows = np.flatnonzero(inside & (table["start"] < place.end))
    if not rows.size:
        raise UserInputError(
            f"no region of {ism.url} lies on {place.chrom} between {place.start:,} and "
            f"{place.end:,}; draw another locus, or leave ism out."
        )
    known = set(map(str, ism.groups.index))
    columns = ism.columns([name for name in groups if name in known] or None)
    turned = is_reverse(table)
    for row in rows.tolist():
        scores = ism.scores(row, row + 1, columns).mean(axis=-1, keepdims=True)
        matters = importance(scores, ism.codes(row, row + 1))[0, :, 0]
        if turned[row]:
            matters = matters[::-1]
        start = int(table["span_start"].iloc[row])
        one.bar(np.arange(start, start + len(matters)) + 0.5, matters, width=1, color=_INK)
    one.axhline(0, color=_INK, linewidth=0.5)
    one.set_ylabel("ISM\nimportance", rotation=0, ha="right", va="center", fontsize=8)


def _here(genes: pd.DataFrame, place: Region) -> pd.DataFrame:
    on = genes["chrom"].astype(str) == place.chrom
    return genes[on & (genes["end"] > place.start) & (genes["start"] < place.end)]


def _draw_genes(one: Axes, genes: pd.DataFrame) -> None:
    """Draw genes as bars with names, those that overlap below one another."""
    ends: list[int] = []
    ordered = genes.sort_values("start")
    columns = (ordered[name].tolist() for name in ("start", "end", "gene_name", "strand"))
    for start, end, gene, strand in zip(*columns, strict=True):
        row = next((r for r, taken in enumerate(ends) if taken <= start), len(ends))
        ends[row : row + 1] = [end]
        one.hlines(-row, start, end, color=_INK, linewidth=4)
        name = f"{gene} >" if strand == "+" else f"< {gene}"
        one.text(start, -row - 0.2, name, fontsize=7, va="top", clip_on=True)
    one.set_ylim(-max(len(ends), 1), 0.5)
    one.set_yticks([])
    one.set_ylabel("genes", rotation=0, ha="right", va="center", fontsize=8)


def _finish(axes: Sequence[Axes], place: Region) -> None:
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.tick_params(labelsize=7)
    axes[-1].set_xlim(place.start, place.end)
    axes[-1].xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes[-1].set_xlabel(f"{place.chrom}, bp", fontsize=8)
