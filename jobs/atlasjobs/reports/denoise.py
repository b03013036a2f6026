"""What `denoise` did, as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlasstore.text_units import count, size

if TYPE_CHECKING:
    from atlasbasset.verbs.denoise.report import DenoiseReport
    from atlasstore.plans import Lines

__all__ = ["denoise_facts"]


def denoise_facts(report: DenoiseReport) -> Lines:
    """Describe a denoised result."""
    dense = f"{size(report.dense_bytes)} in {report.dtype}" if report.dtype else "not written"
    columns = ("peaks", report.n_peaks) if report.n_genes is None else ("genes", report.n_genes)
    rows = [
        (f"cells x {columns[0]}", f"{count(report.n_cells)} x {count(columns[1])}"),
        ("scale", report.scale),
        ("dense table", dense),
    ]
    if report.peak_deviations:
        rows.append(("predicted from", "sequences and the peaks' deviations"))
    if report.largest_error is not None:
        rows.append(("largest error", f"{report.largest_error:.2g}, by rounding to a byte"))
    return rows
