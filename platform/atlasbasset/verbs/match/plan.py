"""The plan of `match`: which regions, motifs and groups."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atlasbasset.extras import needed
from atlasbasset.inference.groups import regrouped
from atlasbasset.verbs.match.null import draw_null
from atlasbasset.verbs.match.q_values import QValues
from atlasbasset.verbs.match.report import MatchReport
from atlasbasset.verbs.match.rows import COLUMNS, MatchInput, add_q_values, write_rows
from atlasbasset.verbs.match.site_scores import METHODS, Method
from atlasbasset.verbs.shared.plan import notice_lines
from atlasstore.errors import MotifError, UserInputError
from atlasstore.events import Notice
from atlasstore.files import urls
from atlasstore.files.staging import refuse_existing
from atlasstore.files.table_file import SUFFIXES, written_table
from atlasstore.genome.motifs import read_motifs
from atlasstore.plans import Plan
from atlasstore.results.ism_result import IsmResult
from atlasstore.text_units import count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlasbasset.inference.cell_labels import Obs
    from atlasbasset.verbs.match.null import Null
    from atlasstore.events import Subscriber
    from atlasstore.genome.motifs import Motif
    from atlasstore.plans import Lines

__all__ = ["MatchPlan", "plan_match"]


@dataclass(frozen=True, eq=False, repr=False)
class MatchPlan(Plan[MatchReport]):
    """Checked input of `match`; made by `plan_match`."""

    given: MatchInput
    out: str
    seed: int

    @property
    def title(self) -> str:
        """What would be done."""
        return f"Would match motifs into {self.out}"

    @property
    def n_regions(self) -> int:
        """R."""
        return self.given.n_regions

    @property
    def n_motifs(self) -> int:
        """Motifs that fit into the regions."""
        return len(self.given.motifs)

    @property
    def n_groups(self) -> int:
        """Groups, or cells."""
        return self.given.n_groups

    def lines(self) -> Lines:
        """Return regions, motifs, groups and chance sites."""
        n_too_wide = self.given.n_too_wide
        too_wide = f", {count(n_too_wide)} too wide left out" if n_too_wide else ""
        return [
            ("regions", f"{count(self.n_regions)} of {count(self.given.result.span_bp)} bp"),
            ("motifs", f"{count(self.n_motifs)}{too_wide}"),
            ("groups", count(self.n_groups)),
            ("null", f"{count(self.given.n_null)} chance sites of each motif"),
            *notice_lines("names", self.given.renamed),
            *notice_lines("left out", self.given.left_out),
        ]

    def values(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "out": self.out,
            "n_regions": self.n_regions,
            "n_motifs": self.n_motifs,
            "n_too_wide": self.given.n_too_wide,
            "n_groups": self.n_groups,
            "n_null": self.given.n_null,
        }

    def _run(self, on_event: Subscriber) -> MatchReport:
        refuse_existing(self.out)
        given = self.given
        for notice in (given.renamed, self._too_wide, given.left_out):
            if notice:
                on_event(Notice(notice))
        with (
            tempfile.TemporaryDirectory(prefix="atlasbasset-") as made,
            written_table(self.out, COLUMNS, rows_at_once=given.sizes.rows) as table,
        ):
            rows, q_values = Path(made, "rows.parquet"), QValues(given.n_groups)
            null = self._null(Path(made), on_event)
            n_sites = write_rows(rows, given, null, q_values, on_event)
            add_q_values(rows, given, q_values, table)
        return MatchReport(
            self.out, self.n_regions, self.n_motifs, self.n_groups, n_sites, table.n_rows
        )

    def _null(self, folder: Path, on_event: Subscriber) -> Null:
        given = self.given
        return draw_null(
            given.motifs,
            given,
            method=given.method,
            hit_p=given.hit_p,
            n_null=given.n_null,
            seed=self.seed,
            at_once=given.regions_at_once,
            folder=folder,
            sizes=given.sizes,
            on_event=on_event,
        )

    @property
    def _too_wide(self) -> str | None:
        n, span_bp = self.given.n_too_wide, self.given.result.span_bp
        if not n:
            return None
        return f"{n} motifs are wider than the {span_bp} bp that were mutated, and are left out."


def plan_match(
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
) -> MatchPlan:
    """Plan `match`: check its input; nothing is written.

    Parameters are those of `match`, and so are the errors that are raised.

    Examples
    --------
    >>> plan = plan_match("ism.zarr", "jaspar.meme", out="hits.parquet")  # doctest: +SKIP
    >>> plan.n_motifs, plan.n_groups  # doctest: +SKIP
    """
    refuse_existing(out)
    if not urls.path_end(out).endswith(SUFFIXES):
        raise UserInputError(f"{out} ends in none of {', '.join(SUFFIXES)}; name the table so.")
    if method not in METHODS:
        raise UserInputError(f"method must be one of {', '.join(METHODS)}, got {method!r}.")
    if not 0 < hit_p < 1:
        raise UserInputError(f"hit_p must lie between 0 and 1, got {hit_p:g}.")
    if not 0 < max_p <= 1:
        raise UserInputError(f"max_p must be above 0 and at most 1, got {max_p:g}.")
    if n_null < 1:
        raise UserInputError(f"n_null must be 1 or more, got {n_null}.")
    if seed < 0:
        raise UserInputError(f"seed must be 0 or more, got {seed}.")
    needed("memelite", extra="interpret", purpose="Matching motifs")
    opened = result if isinstance(result, IsmResult) else IsmResult.open(result)
    opened, left_out = regrouped(opened, group_by, obs=obs)
    columns = opened.columns(None if groups is None else list(dict.fromkeys(groups)))
    known, renamed = read_motifs(motifs)
    fitting = [motif for motif in known if motif.width <= opened.span_bp]
    if not fitting:
        raise MotifError(
            f"none of {len(known)} motifs fits into the {opened.span_bp} bp that {opened.url} "
            "covers of each region; make a result with a wider --span."
        )
    given = MatchInput(
        opened,
        fitting,
        len(known) - len(fitting),
        renamed,
        left_out,
        columns,
        method=method,
        hit_p=hit_p,
        max_p=max_p,
        n_null=n_null,
    )
    return MatchPlan(given, str(out), seed)
