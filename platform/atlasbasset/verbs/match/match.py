"""`match`: known motifs in the scores of an ISM result (PWM-ISM), as a table."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from atlasbasset.extras import needed
from atlasbasset.verbs.match.pwm_ism import (
    METHODS,
    Method,
    SiteScores,
    regions_at_once,
    score_sites,
)
from atlasbasset.verbs.match.table_file import SUFFIXES, written_table
from atlasstore.errors import MotifError, UserInputError
from atlasstore.events import Notice, Progress, ignore
from atlasstore.files.staging import refuse_existing
from atlasstore.genome.motifs import read_meme
from atlasstore.results.ism_result import IsmResult
from atlasstore.zarrio.blocks import runs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from atlasbasset.verbs.match.table_file import ColumnType
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
    columns: NDArray[np.int64]
    """Groups (or cells) of the result."""


def match(
    result: str | Path | IsmResult,
    motifs: str | Path | Sequence[Motif],
    *,
    out: str | Path,
    groups: Sequence[str] | None = None,
    method: Method = "pearson",
    hit_p: float = 1e-3,
    max_p: float = 0.05,
    shuffles: int = 100,
    seed: int = 0,
    on_event: Subscriber = ignore,
) -> MatchReport:
    """Find motifs whose sites matter to the model, by group of cells (`verbs.match.pwm_ism`).

    Memory: about 200 MB beside the program, whatever the numbers of regions, motifs and groups.

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
    method
        Score of a site: "pearson" correlation, or "dot" product, of the motif's probabilities with
        the scores of the four bases.
    hit_p
        FIMO's p-value of a site is below this.
    max_p
        Rows with a larger p-value are left out; 1 keeps all.
    shuffles
        Shuffles of each region that the null is from; with few, short regions or wide motifs have
        few chance sites, and small p-values cannot be reached (column ``n_null``).
    seed
        Of the shuffles.
    on_event
        Hears `Progress` and `Notice`.

    Returns
    -------
    MatchReport
        Columns of the table: region, chrom, start, end (0-based half-open, of the site), strand,
        motif, tf, group, score, p, n_null, hit_p. Rows are ordered by region, start, motif and
        group.

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
        method=method,
        hit_p=hit_p,
        max_p=max_p,
        shuffles=shuffles,
    )
    if matching.n_too_wide:
        on_event(Notice(_too_wide(matching)))
    n_regions, n_sites = matching.result.n_regions, 0
    n_motifs, n_groups = len(matching.motifs), len(matching.columns)
    at_once = regions_at_once(
        matching.result.span_bp,
        n_motifs=n_motifs,
        n_groups=n_groups,
        n_shuffles=shuffles,
        hit_p=hit_p,
    )
    on_event(Progress(_STAGE, 0, n_regions, "regions"))
    with written_table(out, _COLUMNS) as table:
        for start, stop in runs(n_regions, at_once):
            found = _scored(matching, start, stop, method, hit_p, shuffles, seed)
            for rows in _tables(matching, start, found, max_p):
                table.add(rows)
            n_sites += len(found.hits)
            on_event(Progress(_STAGE, stop, n_regions, "regions"))
    return MatchReport(str(out), n_regions, n_motifs, n_groups, n_sites, table.n_rows)


def check_match(
    result: str | Path | IsmResult,
    motifs: str | Path | Sequence[Motif],
    *,
    out: str | Path,
    groups: Sequence[str] | None,
    method: str,
    hit_p: float,
    max_p: float,
    shuffles: int,
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
    if shuffles < 1:
        raise UserInputError(f"shuffles must be 1 or more, got {shuffles}.")
    needed("memelite", extra="interpret", purpose="Matching motifs")
    opened = result if isinstance(result, IsmResult) else IsmResult.open(result)
    columns = opened.columns(groups)
    known = read_meme(motifs) if isinstance(motifs, str | Path) else list(motifs)
    fitting = [motif for motif in known if motif.width <= opened.span_bp]
    if not fitting:
        raise MotifError(
            f"none of {len(known)} motifs fits into the {opened.span_bp} bp that {opened.url} "
            "covers of each region; make a result with a wider --span."
        )
    return Matching(opened, fitting, len(known) - len(fitting), columns)


def _too_wide(matching: Matching) -> str:
    return (
        f"{matching.n_too_wide} motifs are wider than the {matching.result.span_bp} bp that were "
        "mutated, and are left out."
    )


def _scored(
    matching: Matching,
    start: int,
    stop: int,
    method: Method,
    hit_p: float,
    shuffles: int,
    seed: int,
) -> SiteScores:
    return score_sites(
        matching.motifs,
        matching.result.codes(start, stop),
        matching.result.scores(start, stop, matching.columns),
        method=method,
        hit_p=hit_p,
        n_shuffles=shuffles,
        rngs=[np.random.default_rng([seed, region]) for region in range(start, stop)],
    )


def _tables(
    matching: Matching, first: int, found: SiteScores, max_p: float
) -> Iterator[pd.DataFrame]:
    """Yield the rows of sites and groups with a p-value of at most `max_p`, in their order."""
    order = np.lexsort((found.hits.start, found.hits.sequence))  # by motif before
    for a, b in runs(len(order), max(1, _ROWS_AT_ONCE // len(matching.columns))):
        site, group = np.nonzero(found.p[order[a:b]] <= max_p)
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
