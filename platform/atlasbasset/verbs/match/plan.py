"""The plan of `match`: which regions, motifs and groups."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from atlasbasset.extras import needed
from atlasbasset.verbs.match.pwm_ism import (
    METHODS,
    Method,
    SiteScores,
    regions_at_once,
    score_sites,
)
from atlasbasset.verbs.match.report import MatchReport
from atlasbasset.verbs.match.rows import COLUMNS, MatchInput, matched_rows
from atlasbasset.verbs.match.table_file import SUFFIXES, written_table
from atlasstore.errors import MotifError, UserInputError
from atlasstore.events import Notice, Progress
from atlasstore.files.staging import refuse_existing
from atlasstore.genome.motifs import read_meme
from atlasstore.plans import Plan
from atlasstore.results.ism_result import IsmResult
from atlasstore.text_units import count
from atlasstore.zarrio.blocks import runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlasstore.events import Subscriber
    from atlasstore.genome.motifs import Motif
    from atlasstore.plans import Lines

__all__ = ["MatchPlan", "plan_match"]

_STAGE = "matching motifs"


@dataclass(frozen=True, eq=False, repr=False)
class MatchPlan(Plan[MatchReport]):
    """Checked input of `match`; made by `plan_match`."""

    given: MatchInput
    out: str
    method: Method
    hit_p: float
    max_p: float
    shuffles: int
    seed: int

    @property
    def title(self) -> str:
        """What would be done."""
        return f"Would match motifs into {self.out}"

    @property
    def n_regions(self) -> int:
        """R."""
        return self.given.result.n_regions

    @property
    def n_motifs(self) -> int:
        """Motifs that fit into the regions."""
        return len(self.given.motifs)

    @property
    def n_groups(self) -> int:
        """Groups, or cells."""
        return len(self.given.columns)

    def lines(self) -> Lines:
        """Return regions, motifs, groups and shuffles."""
        n_too_wide = self.given.n_too_wide
        too_wide = f", {count(n_too_wide)} too wide left out" if n_too_wide else ""
        return [
            ("regions", f"{count(self.n_regions)} of {count(self.given.result.span_bp)} bp"),
            ("motifs", f"{count(self.n_motifs)}{too_wide}"),
            ("groups", count(self.n_groups)),
            ("null", f"{count(self.shuffles)} shuffles of each region"),
        ]

    def values(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "out": self.out,
            "n_regions": self.n_regions,
            "n_motifs": self.n_motifs,
            "n_too_wide": self.given.n_too_wide,
            "n_groups": self.n_groups,
            "shuffles": self.shuffles,
        }

    def _run(self, on_event: Subscriber) -> MatchReport:
        refuse_existing(self.out)
        if self.given.n_too_wide:
            on_event(Notice(self._too_wide))
        n_sites = 0
        on_event(Progress(_STAGE, 0, self.n_regions, "regions"))
        with written_table(self.out, COLUMNS) as table:
            for start, stop in runs(self.n_regions, self._at_once):
                found = self._scored(start, stop)
                for rows in matched_rows(self.given, start, found, self.max_p):
                    table.add(rows)
                n_sites += len(found.hits)
                on_event(Progress(_STAGE, stop, self.n_regions, "regions"))
        return MatchReport(
            self.out, self.n_regions, self.n_motifs, self.n_groups, n_sites, table.n_rows
        )

    @property
    def _at_once(self) -> int:
        return regions_at_once(
            self.given.result.span_bp,
            n_motifs=self.n_motifs,
            n_groups=self.n_groups,
            n_shuffles=self.shuffles,
            hit_p=self.hit_p,
        )

    @property
    def _too_wide(self) -> str:
        n, span_bp = self.given.n_too_wide, self.given.result.span_bp
        return f"{n} motifs are wider than the {span_bp} bp that were mutated, and are left out."

    def _scored(self, start: int, stop: int) -> SiteScores:
        result = self.given.result
        return score_sites(
            self.given.motifs,
            result.codes(start, stop),
            result.scores(start, stop, self.given.columns),
            method=self.method,
            hit_p=self.hit_p,
            n_shuffles=self.shuffles,
            rngs=[np.random.default_rng([self.seed, region]) for region in range(start, stop)],
        )


def plan_match(
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
) -> MatchPlan:
    """Plan `match`: check its input; nothing is written.

    Parameters are those of `match`, and so are the errors that are raised.

    Examples
    --------
    >>> plan = plan_match("ism.zarr", "jaspar.meme", out="hits.parquet")  # doctest: +SKIP
    >>> plan.n_motifs, plan.n_groups  # doctest: +SKIP
    """
    refuse_existing(out)
    if not str(out).endswith(SUFFIXES):
        raise UserInputError(f"{out} ends in none of {', '.join(SUFFIXES)}; name the table so.")
    if method not in METHODS:
        raise UserInputError(f"method must be one of {', '.join(METHODS)}, got {method!r}.")
    if not 0 < hit_p < 1:
        raise UserInputError(f"hit_p must lie between 0 and 1, got {hit_p:g}.")
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
    given = MatchInput(opened, fitting, len(known) - len(fitting), columns)
    return MatchPlan(given, str(out), method, hit_p, max_p, shuffles, seed)
