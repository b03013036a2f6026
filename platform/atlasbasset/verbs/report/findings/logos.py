"""Which bases matter: the part of each mutated region that matters most, in some groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from atlasbasset.verbs.report.findings.missing import Missing
from atlasstore.genome.sequences import reverse_complement_codes
from atlasstore.results.ism_result import importance, most_important

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from atlasstore.results.ism_result import IsmResult

__all__ = ["Logo", "logos_of"]

_MOST_REGIONS = 4
_MOST_LOOKED_AT = 64
_MOST_GROUPS = 4
_MOST_BP = 80


@dataclass(frozen=True, eq=False, slots=True)
class Logo:
    """L bases of a region in G groups."""

    region: str
    chrom: str
    start: int
    """Position of the first base, 0-based."""
    codes: NDArray[np.uint8]
    """uint8 (L,), 0..3 for A, C, G, T; 4 unknown."""
    importance: NDArray[np.float32]
    """float32 (L, G)."""
    groups: tuple[str, ...]


def logos_of(result: IsmResult | None, *, model: str) -> tuple[Logo, ...] | Missing:
    """Return the regions that differ most between groups, at most 4.

    The first 64 regions are looked at. Of each the 80 bp and 4 groups are taken that matter most.
    """
    if result is None:
        return Missing(
            "Mutagenesis is not shown: no result of ism was given.",
            f"ism {model} --atlas ATLAS --peaks NAME,NAME --span 200 --group-by COLUMN "
            "--out ism.zarr",
        )
    if not result.is_grouped:
        return Missing(
            "Mutagenesis is not shown: its result is of single cells.",
            f"ism {model} --atlas ATLAS --peaks NAME,NAME --group-by COLUMN --out ism.zarr",
        )
    stop = min(result.n_regions, _MOST_LOOKED_AT)
    codes = result.codes(0, stop)
    matters = importance(result.scores(0, stop, result.columns()), codes)
    order = np.argsort(-np.abs(matters).max(axis=(1, 2)), kind="stable")[:_MOST_REGIONS]
    return tuple(_logo(result, row, codes[row], matters[row]) for row in np.sort(order).tolist())


def _logo(
    result: IsmResult, row: int, codes: NDArray[np.uint8], matters: NDArray[np.float32]
) -> Logo:
    region = result.regions.iloc[row]
    if region.get("strand") == "-":  # logos run along the chromosome
        codes, matters = reverse_complement_codes(codes), matters[::-1]
    first, last = most_important(matters, _MOST_BP)
    most = np.argsort(-np.abs(matters[first:last]).max(0), kind="stable")[:_MOST_GROUPS]
    groups = np.sort(most)
    return Logo(
        str(region.name),
        str(region["chrom"]),
        int(region["span_start"]) + first,
        codes[first:last],
        matters[first:last, groups],
        tuple(str(result.groups.index[group]) for group in groups),
    )
