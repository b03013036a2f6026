"""`match`: known motifs in the scores of an ISM result (PWM-ISM), as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlasbasset.verbs.match.plan import MatchPlan, plan_match
from atlasbasset.verbs.match.report import MatchReport

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from atlasbasset.inference.cell_labels import Obs
    from atlasbasset.verbs.match.site_scores import Method
    from atlasstore.events import Subscriber
    from atlasstore.genome.motifs import Motif
    from atlasstore.results.ism_result import IsmResult

__all__ = ["MatchPlan", "MatchReport", "match", "plan_match"]


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
    on_event: Subscriber | None = None,
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
        Called with `Progress` and `Notice`; by default a bar is shown on a terminal or in a
        notebook.

    Returns
    -------
    MatchReport
        Columns of the table: region, chrom, start, end (0-based half-open, of the site), strand,
        motif, tf, group, score, p, q (Benjamini-Hochberg over all sites and motifs of the group),
        n_null, hit_p. Rows are ordered by region, start, motif and group.

    Examples
    --------
    >>> match("ism.zarr", "jaspar.meme", out="hits.parquet", groups=["B cell"])  # doctest: +SKIP

    Raises
    ------
    UserInputError
        When an option, a group or the table's name does not fit.
    MotifError
        The motifs cannot be read, or none fits into the regions.
    MissingExtraError
        memelite is not installed.
    StoreExistsError
        When something exists at `out`.
    """
    plan = plan_match(
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
    return plan.run(on_event=on_event)
