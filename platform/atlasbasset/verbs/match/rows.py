"""Sites of motifs as rows of the table that `match` writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from atlasbasset.verbs.match.pwm_ism import SiteScores, regions_at_once, score_sites
from atlasbasset.verbs.match.sizes import SIZES
from atlasstore.atlas.regions import is_reverse
from atlasstore.events import Progress
from atlasstore.files.table_file import written_table
from atlasstore.zarrio.blocks import runs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from atlasbasset.verbs.match.null import Null
    from atlasbasset.verbs.match.q_values import QValues
    from atlasbasset.verbs.match.site_scores import Method
    from atlasbasset.verbs.match.sizes import Sizes
    from atlasstore.events import Subscriber
    from atlasstore.files.table_file import ColumnType, TableFile
    from atlasstore.genome.motifs import Motif
    from atlasstore.results.ism_result import IsmResult

__all__ = ["COLUMNS", "MatchInput", "add_q_values", "write_rows"]

_STAGE = "matching motifs"
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
    "q": "float64",
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
    renamed: str | None
    """A sentence on motifs that shared a name."""
    left_out: str | None
    """A sentence on cells that are in no group."""
    columns: NDArray[np.int64]
    """Groups (or cells) of the result."""
    method: Method
    hit_p: float
    max_p: float
    n_null: int
    sizes: Sizes = SIZES

    @property
    def n_regions(self) -> int:
        """R."""
        return self.result.n_regions

    @property
    def n_groups(self) -> int:
        """G."""
        return len(self.columns)

    @property
    def group_names(self) -> NDArray[np.object_]:
        """Names of the groups (or cells), (G,)."""
        return np.asarray(self.result.groups.index[self.columns], dtype=object)

    @property
    def regions_at_once(self) -> int:
        """Regions whose sites are scored together."""
        return regions_at_once(
            self.result.span_bp,
            n_motifs=len(self.motifs),
            n_groups=self.n_groups,
            hit_p=self.hit_p,
            sizes=self.sizes,
        )

    def codes(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Return the bases of regions [start, stop), uint8 (stop - start, L), 0..4."""
        return self.result.codes(start, stop)

    def scores(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return their scores in the groups, float32 (stop - start, L, 4, G)."""
        return self.result.scores(start, stop, self.columns)


def write_rows(
    path: Path, matching: MatchInput, null: Null, q_values: QValues, on_event: Subscriber
) -> int:
    """Write the table but for its q-values, which are known at the end; return how many sites."""
    n_regions, n_sites = matching.n_regions, 0
    on_event(Progress(_STAGE, 0, n_regions, "regions"))
    with written_table(path, COLUMNS, rows_at_once=matching.sizes.rows) as table:
        for start, stop in runs(n_regions, matching.regions_at_once):
            found = score_sites(
                matching.motifs,
                matching.codes(start, stop),
                matching.scores(start, stop),
                null,
                method=matching.method,
                hit_p=matching.hit_p,
                sizes=matching.sizes,
            )
            q_values.add(found.p)
            for rows in _tables(matching, start, found):
                table.add(rows)
            n_sites += len(found.hits)
            on_event(Progress(_STAGE, stop, n_regions, "regions"))
    return n_sites


def add_q_values(path: Path, matching: MatchInput, q_values: QValues, table: TableFile) -> None:
    """Copy rows into the table, with the q-values that all of them give."""
    from pyarrow.parquet import ParquetFile

    names = pd.Index(matching.group_names)
    for batch in ParquetFile(path).iter_batches(matching.sizes.rows):
        rows = batch.to_pandas()
        of_group, p, q = names.get_indexer(rows["group"]), rows["p"].to_numpy(), np.empty(len(rows))
        for group in np.unique(of_group):
            q[of_group == group] = q_values.q(p[of_group == group], group)
        table.add(rows.assign(q=q))


def _tables(matching: MatchInput, first: int, found: SiteScores) -> Iterator[pd.DataFrame]:
    """Yield the rows of sites and groups with a small enough p-value, in their order."""
    order = np.lexsort((found.hits.start, found.hits.sequence))  # by motif before
    for a, b in runs(len(order), max(1, matching.sizes.rows // len(matching.columns))):
        site, group = np.nonzero(found.p[order[a:b]] <= matching.max_p)
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
    width = np.array([m.width for m in motifs])[motif]
    turned = is_reverse(regions)[region]  # its scores, and so its sites, are of the - strand
    at = np.where(turned, matching.result.span_bp - hits.start[site] - width, hits.start[site])
    start = regions["span_start"].to_numpy(np.int64)[region] + at
    return pd.DataFrame(
        {
            "region": regions.index.to_numpy()[region],
            "chrom": regions["chrom"].astype(str).to_numpy()[region],
            "start": start,
            "end": start + width,
            "strand": np.where(hits.reverse[site] ^ turned, "-", "+"),
            "motif": np.array([m.name for m in motifs], object)[motif],
            "tf": np.array([m.tf for m in motifs], object)[motif],
            "group": matching.group_names[group],
            "score": found.score[site, group],
            "p": found.p[site, group],
            "q": np.nan,
            "n_null": found.n_null[site],
            "hit_p": hits.p[site],
        }
    )
