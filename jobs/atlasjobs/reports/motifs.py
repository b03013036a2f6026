"""What `motifs` did, as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlasstore.text_units import count, size

if TYPE_CHECKING:
    from atlasbasset.verbs.motifs.report import MotifReport
    from atlasstore.plans import Lines

__all__ = ["motifs_facts"]


def motifs_facts(report: MotifReport) -> Lines:
    """Describe TF activities."""
    return [
        ("cells x motifs", f"{count(report.n_cells)} x {count(report.n_motifs)}"),
        ("backgrounds", count(report.n_backgrounds)),
        ("scale", report.scale),
        ("z-scores", size(report.dense_bytes)),
        ("differ most between cells", ", ".join(report.most_variable)),
    ]
