"""What `match` did, as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlasstore.text_units import count

if TYPE_CHECKING:
    from atlasbasset.verbs.match.report import MatchReport
    from atlasstore.plans import Lines

__all__ = ["match_facts"]


def match_facts(report: MatchReport) -> Lines:
    """Describe matched motifs."""
    return [
        ("regions", count(report.n_regions)),
        ("motifs", f"{count(report.n_motifs)} with {count(report.n_sites)} sites"),
        ("groups", count(report.n_groups)),
        ("rows", f"{count(report.n_rows)} of site and group"),
    ]
