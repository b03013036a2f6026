"""Streams of a run's seed: each use of random numbers has its own, so none repeats another's."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Stream"]


class Stream(IntEnum):
    """Second word of the seed of a generator, after the run's own seed."""

    ORDER = 0
    """Order of the peaks in an epoch."""
    AUGMENT = 1
    """Shift, strand and dropout of a step."""
    SAMPLE = 2
    """Peaks that the training auROC is measured on."""
    CELLS = 3
    """Cells of a step."""
    SVD = 4
    """The randomised SVD of the start."""
    BATCHES = 5
    """Cells that batches' effects are estimated on."""
    DEVIATIONS = 6
    """Peaks and cells that the weight of peaks' deviations is chosen on."""
