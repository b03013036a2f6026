"""`match`: known motifs in the scores of an ISM result (PWM-ISM), as a table."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from atlasbasset.extras import needed
from atlasbasset.inference.groups import regrouped
from atlasbasset.verbs.match.null import Null, draw_null
from atlasbasset.verbs.match.pwm_ism import SiteScores, regions_at_once, score_sites
from atlasbasset.verbs.match.q_values import QValues
from atlasbasset.verbs.match.site_scores import METHODS, Method
from atlasbasset.verbs.match.table_file import SUFFIXES, written_table
from atlasstore.atlas.regions import is_reverse
from atlasstore.errors import MotifError, UserInputError
from atlasstore.events import Notice, Progress, ignore
from atlasstore.files.staging import refuse_existing
from atlasstore.genome.motifs import read_motifs
from atlasstore.results.ism_result import IsmResult
from atlasstore.zarrio.blocks import runs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from atlasbasset.inference.cell_labels import Obs
    from atlasbasset.verbs.match.table_file import ColumnType, TableFile
    from atlasstore.events import Subscriber
    from atlasstore.genome.motifs import Motif

__all__ = ["MatchReport", "Matching", "check_match", "match"]

_STAGE = "matching motifs"
_ROWS_AT_ONCE = 1 << 15
_COLUMNS: dict[str, ColumnType] = {
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


@dataclass(frozen=True, slots=True)
class MatchReport:
    """What was found."""

    table: str
    """URL of the table."""
    n_regions: int
    n_motifs: int
    n_groups: int
    n_sites: int
    """Sites of motifs in the regions, whatever their p-value."""
    n_rows: int
    """Rows of the table: site and group."""

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


@dataclass(frozen=True, eq=False, slots=True)
class Matching:
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
        )

    def codes(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Return the bases of regions [start, stop), uint8 (stop - start, L), 0..4."""
        return self.result.codes(start, stop)

    def scores(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return their scores in the groups, float32 (stop - start, L, 4, G)."""
        return self.result.scores(start, stop, self.columns)


def match(
    result: str | Path | IsmResult,
    motifs: str | Path | Sequence[Motif],
    *,
    out: str | Path,
    groups: Sequence[str] | None = None,
    group_by: str | None = None,
    obs: Obs | None = None,
    method: Method = "pearson",
    hit_p: float = 1e-3,
    max_p: float = 0.05,
    n_null: int = 10_000,
    seed: int = 0,
    on_event: Subscriber = ignore,
) -> MatchReport:
    """Find motifs whose sites matter to the model, by group of cells (`verbs.match.pwm_ism`).

    Memory: about 200 MB beside the program, whatever the numbers of regions, motifs and groups;
    beside it a temporary file of motifs x groups x `n_null` x 4 bytes.

    Parameters
    ----------
    result
        An ISM result, or its URL.
    motifs
        Path or URL of a MEME file, or motifs.
    out
        Path or URL of the table: ``.parquet``, ``.csv`` or ``.tsv`` (also ``.gz``).
    groups
        Names of the result's groups (or cells); all by default.
    group_by, obs
        Of a result of cells: a column of a table of cells (CSV, TSV or AnnData at a path or URL, or
        a pandas table), whose groups then stand in the place of the cells.
    method
        Score of a site: "pearson" correlation, or "dot" product, of the motif's probabilities with
        the scores of the four bases.
    hit_p
        FIMO's p-value of a site is below this.
    max_p
        Rows with a larger p-value are left out; 1 keeps all.
    n_null
        Chance sites of each motif that p-values are from (`verbs.match.null`): none is below
        ``1 / (1 + n_null)``.
    seed
        Of the chance sites, 0 or more.
    on_event
        Hears `Progress` and `Notice`.

    Returns
    -------
    MatchReport
        Columns of the table: region, chrom, start, end (0-based half-open, of the site), strand,
        motif, tf, group, score, p, q (Benjamini-Hochberg over all sites and motifs of the group),
        n_null, hit_p. Rows are ordered by region, start, motif and group.

    Raises
    ------
    UserInputError
        When an option, a group or the table's name does not fit.
    MotifError
        The motifs cannot be read, or none fits into the regions.
    MissingExtraError
        memelite is not installed.
    StoreExistsError
        When anything lies at `out`.
    """
    matching = check_match(
        result,
        motifs,
        out=out,
        groups=groups,
        group_by=group_by,
        obs=obs,
        method=method,
        hit_p=hit_p,
        max_p=max_p,
        n_null=n_null,
        seed=seed,
    )
    for told in (matching.renamed, _too_wide(matching), matching.left_out):
        if told:
            on_event(Notice(told))
    with (
        tempfile.TemporaryDirectory(prefix="atlasbasset-") as made,
        written_table(out, _COLUMNS) as table,
    ):
        rows, q_values = Path(made, "rows.parquet"), QValues(matching.n_groups)
        null = draw_null(
            matching.motifs,
            matching,
            method=method,
            hit_p=hit_p,
            n_null=n_null,
            seed=seed,
            at_once=matching.regions_at_once,
            folder=Path(made),
            on_event=on_event,
        )
        n_sites = _write_rows(rows, matching, null, q_values, on_event)
        _add_q_values(rows, matching, q_values, table)
    n_motifs, n_groups = len(matching.motifs), matching.n_groups
    return MatchReport(str(out), matching.n_regions, n_motifs, n_groups, n_sites, table.n_rows)


def check_match(
    result: str | Path | IsmResult,
    motifs: str | Path | Sequence[Motif],
    *,
    out: str | Path,
    groups: Sequence[str] | None,
    group_by: str | None = None,
    obs: Obs | None = None,
    method: str,
    hit_p: float,
    max_p: float,
    n_null: int,
    seed: int,
) -> Matching:
    """Return the input of `match`, or raise what it raises."""
    refuse_existing(out)
    if not str(out).endswith(SUFFIXES):
        raise UserInputError(f"{out} ends in none of {', '.join(SUFFIXES)}; name the table so.")
    if method not in METHODS:
        raise UserInputError(f"method must be one of {', '.join(METHODS)}, got {method!r}.")
    if not 0 < hit_p < 1:
        raise UserInputError(f"hit_p must be between 0 and 1, got {hit_p:g}.")
    if not 0 < max_p <= 1:
        raise UserInputError(f"max_p must be above 0 and at most 1, got {max_p:g}.")
    if n_null < 1:
        raise UserInputError(f"n_null must be 1 or more, got {n_null}.")
    if seed < 0:
        raise UserInputError(f"seed must be 0 or more, got {seed}.")
    needed("memelite", extra="interpret", purpose="Matching motifs")
    opened = result if isinstance(result, IsmResult) else IsmResult.open(result)
    opened, told = regrouped(opened, group_by, obs=obs)
    columns = opened.columns(None if groups is None else list(dict.fromkeys(groups)))
    known, renamed = read_motifs(motifs)
    fitting = [motif for motif in known if motif.width <= opened.span_bp]
    if not fitting:
        raise MotifError(
            f"none of {len(known)} motifs fits into the {opened.span_bp} bp that {opened.url} "
            "covers of each region; make a result with a wider --span."
        )
    return Matching(
        opened,
        fitting,
        len(known) - len(fitting),
        renamed,
        told,
        columns,
        method=method,
        hit_p=hit_p,
        max_p=max_p,
        n_null=n_null,
    )


def _too_wide(matching: Matching) -> str | None:
    if not matching.n_too_wide:
        return None
    return (
        f"{matching.n_too_wide} motifs are wider than the {matching.result.span_bp} bp that were "
        "mutated, and are left out."
    )


def _write_rows(
    path: Path, matching: Matching, null: Null, q_values: QValues, on_event: Subscriber
) -> int:
    """Write the table but for its q-values, which are known at the end; return how many sites."""
    n_regions, n_sites = matching.n_regions, 0
    on_event(Progress(_STAGE, 0, n_regions, "regions"))
    with written_table(path, _COLUMNS) as table:
        for start, stop in runs(n_regions, matching.regions_at_once):
            found = score_sites(
                matching.motifs,
                matching.codes(start, stop),
                matching.scores(start, stop),
                null,
                method=matching.method,
                hit_p=matching.hit_p,
            )
            q_values.add(found.p)
            for rows in _tables(matching, start, found):
                table.add(rows)
            n_sites += len(found.hits)
            on_event(Progress(_STAGE, stop, n_regions, "regions"))
    return n_sites


def _add_q_values(path: Path, matching: Matching, q_values: QValues, table: TableFile) -> None:
    from pyarrow.parquet import ParquetFile

    names = pd.Index(matching.group_names)
    for batch in ParquetFile(path).iter_batches(_ROWS_AT_ONCE):
        rows = batch.to_pandas()
        of_group, p, q = names.get_indexer(rows["group"]), rows["p"].to_numpy(), np.empty(len(rows))
        for group in np.unique(of_group):
            q[of_group == group] = q_values.q(p[of_group == group], group)
        table.add(rows.assign(q=q))


def _tables(matching: Matching, first: int, found: SiteScores) -> Iterator[pd.DataFrame]:
    """Yield the rows of sites and groups with a small enough p-value, in their order."""
    order = np.lexsort((found.hits.start, found.hits.sequence))  # by motif before
    for a, b in runs(len(order), max(1, _ROWS_AT_ONCE // len(matching.columns))):
        site, group = np.nonzero(found.p[order[a:b]] <= matching.max_p)
        yield _table(matching, first, found, order[a:b][site], group)


def _table(
    matching: Matching,
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
