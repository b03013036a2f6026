"""The peaks' split, and a word where it is not what was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from atlasstore.atlas.split import SPLITS, split_peaks
from atlasstore.events import Notice
from atlasstore.genome.sequences import window_starts

if TYPE_CHECKING:
    import pandas as pd

    from atlasstore.events import Subscriber
    from atlasstore.preprocess._settings import Settings

__all__ = ["split_table"]

_WORTH_A_WORD = 0.02
"""Share of all peaks by which a split may miss its size."""


def split_table(var: pd.DataFrame, settings: Settings, on_event: Subscriber) -> pd.Categorical[str]:
    """Return the split of each peak of `var` (columns chrom, start, end)."""
    window_bp, flank_bp = settings.window_bp, settings.flank_bp
    starts = window_starts(
        var["start"].to_numpy(np.int64),
        var["end"].to_numpy(np.int64),
        window_bp=window_bp,
        flank_bp=flank_bp,
    )
    split = split_peaks(
        var["chrom"].astype(str).tolist(),
        starts,
        length=window_bp + 2 * flank_bp,
        method=settings.split,
        fractions=settings.split_fractions,
        holdout=settings.holdout,
        seed=settings.seed,
    )
    if not settings.holdout:
        _tell_if_missed(split, settings, on_event)
    return split


def _tell_if_missed(split: pd.Categorical[str], settings: Settings, on_event: Subscriber) -> None:
    wanted = np.array(settings.split_fractions)
    found = np.bincount(split.codes, minlength=len(SPLITS)) / len(split)
    empty = (found == 0) & (np.rint(wanted * len(split)) > 0)
    if not empty.any() and np.abs(found - wanted).max() <= _WORTH_A_WORD:
        return
    whole = "chromosomes" if settings.split == "chromosome" else "runs of overlapping windows"
    shares = ", ".join(f"{share:.1%} {name}" for name, share in zip(SPLITS, found, strict=True))
    asked = ", ".join(f"{share:.1%}" for share in wanted)
    on_event(
        Notice(
            f"The split is {shares}, where {asked} were asked for: {whole} are never cut, and "
            "there are too few, or too large ones, to come nearer."
        )
    )
