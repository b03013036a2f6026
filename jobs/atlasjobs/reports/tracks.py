"""What `tracks` wrote, as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlasstore.text_units import count, size

if TYPE_CHECKING:
    from atlasbasset.verbs.tracks.report import TracksReport
    from atlasstore.plans import Lines

__all__ = ["tracks_facts"]


def tracks_facts(report: TracksReport) -> Lines:
    """Describe tracks, and how to look at them."""
    windows = f", {count(report.n_windows)} windows along the genome" if report.n_windows else ""
    return [
        ("tracks", f"{count(len(report.groups))} groups, {', '.join(report.kinds)}"),
        ("places", f"{count(report.n_peaks)} peaks{windows}"),
        ("files", f"{count(report.n_files)}, {size(report.n_bytes)}"),
        ("to look at", "index.html, from any web server that takes range requests"),
    ]
