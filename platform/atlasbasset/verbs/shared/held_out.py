"""Held-out peaks whose windows share bases with training windows, as a random split leaves them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlasbasset.verbs.shared.split import split_rows
from atlasstore.atlas.split import held_out_overlap, overlaps_training
from atlasstore.events import Notice

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from atlasstore.atlas.atlas import Atlas
    from atlasstore.events import Subscriber

__all__ = ["judged_rows", "tell_of_overlap"]


def judged_rows(
    atlas: Atlas, split: str, on_event: Callable[[Notice], object]
) -> tuple[NDArray[np.int64], int]:
    """Return the rows of a split's peaks to judge a model on, and how many were left out.

    Of held-out peaks, those whose windows share no base with a training window; all, with a
    notice, where that leaves none. "train" and "all" are taken as they are.
    """
    rows = split_rows(atlas, split)
    if split not in ("valid", "test"):
        return rows, 0
    overlaps = overlaps_training(atlas.var, window_bp=atlas.window_bp, flank_bp=atlas.flank_bp)
    clean = rows[~overlaps[rows]]
    n_overlapping = len(rows) - len(clean)
    if not n_overlapping:
        return rows, 0
    of_them = f"{n_overlapping:,} of the {len(rows):,} {split} peaks"
    if not clean.size:
        on_event(
            Notice(
                f"Warning: {of_them} share bases with training windows, so the figures say "
                f"little of unseen sequence; {_REMEDY}."
            )
        )
        return rows, 0
    on_event(
        Notice(f"Warning: {of_them} share bases with training windows and are left out; {_REMEDY}.")
    )
    return clean, n_overlapping


def tell_of_overlap(atlas: Atlas, on_event: Subscriber) -> None:
    """Warn when held-out windows share bases with training windows."""
    found = held_out_overlap(atlas.var, window_bp=atlas.window_bp, flank_bp=atlas.flank_bp)
    shares = [f"{share:.0%} of the {name} windows" for name, share in found.items() if share]
    if shares:
        on_event(
            Notice(
                f"Warning: {' and '.join(shares)} share bases with training windows, so "
                f"validation figures are too good; {_REMEDY}."
            )
        )


_REMEDY = "an atlas made with the grouped split (the default of preprocess) has none such"
