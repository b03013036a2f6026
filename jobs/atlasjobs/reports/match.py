"""What `match` would do and what it did, as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atlasjobs.output.lines import Plan
from atlasstore.text_units import count

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atlasbasset.verbs.match.match import MatchReport
    from atlasstore.plans import Lines

__all__ = ["match_facts", "match_plan"]


def match_plan(result: str, motifs: str, out: str, options: Mapping[str, Any]) -> Plan:
    """Plan matching motifs; refuses what `match` would refuse."""
    from atlasbasset.verbs.match.match import check_match

    found = check_match(result, motifs, out=out, **options)
    values = {
        "out": out,
        "n_regions": found.result.n_regions,
        "n_motifs": len(found.motifs),
        "n_too_wide": found.n_too_wide,
        "n_groups": len(found.columns),
        "shuffles": options["shuffles"],
    }
    too_wide = f", {count(found.n_too_wide)} too wide left out" if found.n_too_wide else ""
    rows = [
        ("regions", f"{count(values['n_regions'])} of {count(found.result.span_bp)} bp"),
        ("motifs", f"{count(values['n_motifs'])}{too_wide}"),
        ("groups", count(values["n_groups"])),
        ("null", f"{count(options['shuffles'])} shuffles of each region"),
    ]
    return Plan(f"Would match motifs into {out}", rows, values)


def match_facts(report: MatchReport) -> Lines:
    """Describe matched motifs."""
    return [
        ("regions", count(report.n_regions)),
        ("motifs", f"{count(report.n_motifs)} with {count(report.n_sites)} sites"),
        ("groups", count(report.n_groups)),
        ("rows", f"{count(report.n_rows)} of site and group"),
    ]
