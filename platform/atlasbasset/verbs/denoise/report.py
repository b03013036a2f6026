"""What `denoise` has written."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["DenoiseReport"]


@dataclass(frozen=True, slots=True)
class DenoiseReport:
    """What was written."""

    result: str
    """URL of the result."""
    n_cells: int
    n_peaks: int
    """Columns; of gene accessibility, peaks that lie near a TSS."""
    n_genes: int | None
    """Columns of gene accessibility; None where they are peaks."""
    scale: str
    dtype: str | None
    """Of the dense table; None without one."""
    dense_bytes: int
    """Size of the dense table before compression; 0 without one."""
    largest_error: float | None
    """Of a value stored in a byte, by rounding; None for other dtypes."""
    was_finished: bool
    """Whether the very same job had made the result before, so that nothing was done."""
    peak_deviations: bool = False
    """Whether the peaks' deviations from their sequences are part of the predictions."""

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)
