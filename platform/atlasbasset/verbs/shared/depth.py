"""Whether intercepts follow sequencing depth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from atlasbasset.metrics import depth_correlation

if TYPE_CHECKING:
    from atlasbasset.inference.model import Model

__all__ = ["model_depth_correlation"]


def model_depth_correlation(model: Model) -> float | None:
    """Return Pearson's r of intercept and log10 open peaks; None where it cannot be had."""
    if "n_peaks" not in model.obs:
        return None
    found = depth_correlation(model.intercept, model.obs["n_peaks"].to_numpy(np.float64))
    return None if np.isnan(found) else found
