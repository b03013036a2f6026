"""Sites of motifs as rows of the table that `match` writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from atlasstore.zarrio.blocks import runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from atlasbasset.verbs.match.pwm_ism import SiteScores
    from atlasbasset.verbs.match.table_file import ColumnType
    from atlasstore.genome.motifs import Motif
    from atlasstore.results.ism_result import IsmResult

__all__ = ["COLUMNS", "MatchInput", "matched_rows"]

_ROWS_AT_ONCE = 1 << 15
COLUMNS: dict[str, ColumnType] = {
    "region": "text",
    "chrom": "text",
    "start": "int64",
    "end": "int64",
    "strand": "text",
    "motif": "text",
    "tf": "text",
    "group": "text",
    "score": "float32",
    "p": "float64",
    "n_null": "int64",
    "hit_p": "float64",
}


@dataclass(frozen=True, eq=False, slots=True)
class MatchInput:
    """Checked input of `match`."""

    result: IsmResult
    motifs: list[Motif]
    """Those that fit into the regions."""
    n_too_wide: int
    """Motifs wider than the mutated span."""
    columns: NDArray[np.int64]
    """Groups (or cells) of the result."""


def matched_rows(
    matching: MatchInput, first: int, found: SiteScores, max_p: float
) -> Iterator[pd.DataFrame]:
    """Yield the rows of sites and groups with a p-value of at most `max_p`, in their order."""
    order = np.lexsort((found.hits.start, found.hits.sequence))  # by motif before
    for a, b in runs(len(order), max(1, _ROWS_AT_ONCE // len(matching.columns))):
        site, group = np.nonzero(found.p[order[a:b]] <= max_p)
        yield _table(matching, first, found, order[a:b][site], group)


def _table(
    matching: MatchInput,
    first: int,
    found: SiteScores,
    site: NDArray[np.int64],
    group: NDArray[np.int64],
) -> pd.DataFrame:
    """Return a row for each of some sites, in its group."""
    hits = found.hits
    motif, region = hits.motif[site], hits.sequence[site] + first
    regions, motifs = matching.result.regions, matching.motifs
    start = regions["span_start"].to_numpy(np.int64)[region] + hits.start[site]
    width = np.array([m.width for m in motifs])[motif]
    names = matching.result.groups.index[matching.columns]
    return pd.DataFrame(
        {
            "region": regions.index.to_numpy()[region],
            "chrom": regions["chrom"].astype(str).to_numpy()[region],
            "start": start,
            "end": start + width,
            "strand": np.where(hits.reverse[site], "-", "+"),
            "motif": np.array([m.name for m in motifs], object)[motif],
            "tf": np.array([m.tf for m in motifs], object)[motif],
            "group": names.to_numpy()[group],
            "score": found.score[site, group],
            "p": found.p[site, group],
            "n_null": found.n_null[site],
            "hit_p": hits.p[site],
        }
    )
