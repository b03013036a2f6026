"""What `discover` would do and what it did, as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlasjobs.output.lines import Plan
from atlasstore.text_units import count

if TYPE_CHECKING:
    from atlasbasset.verbs.discover import DiscoverReport
    from atlasstore.plans import Lines

__all__ = ["discover_facts", "discover_plan"]

_LISTED = 20


def discover_plan(
    result: str, out: str, *, group: str, motifs: str | None, max_seqlets: int
) -> Plan:
    """Plan a discovery; refuses what `discover` would refuse, but for regions without patterns."""
    from atlasbasset.verbs.discover import check_discover

    opened, _, known = check_discover(
        result, group=group, out=out, motifs=motifs, max_seqlets=max_seqlets
    )
    n_regions, span = opened.n_regions, opened.span_bp
    rows = [
        ("regions", f"{count(n_regions)} of {count(span)} bp"),
        ("group", group),
        ("seqlets", f"at most {count(max_seqlets)} of each sign"),
    ]
    if known is not None:
        rows.append(("known motifs", count(len(known))))
    values = {"out": out, "n_regions": n_regions, "span_bp": span, "group": group}
    return Plan(f"Would discover motifs into {out}", rows, values)


def discover_facts(report: DiscoverReport) -> Lines:
    """Describe what was discovered."""
    shown = list(report.patterns.items())[:_LISTED]
    rows = [
        ("regions", count(report.n_regions)),
        ("group", report.group),
        *((f"pattern {name}", f"{count(seqlets)} seqlets") for name, seqlets in shown),
    ]
    if len(report.patterns) > _LISTED:
        rows.append(("more patterns", count(len(report.patterns) - _LISTED)))
    return [*rows, ("report", f"{report.folder}/report/motifs.html")]
