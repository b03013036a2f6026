"""Held-out peaks that are not: of shared windows, or whose labels the cells were solved on."""

from __future__ import annotations

from collections.abc import Mapping
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
    from atlasstore.models.model_store import ModelStore

__all__ = ["judged_rows", "seen_by_cells", "tell_of_overlap"]

_HELD_OUT = ("valid", "test")


def judged_rows(
    atlas: Atlas, split: str, on_event: Callable[[Notice], object]
) -> tuple[NDArray[np.int64], int]:
    """Return the rows of a split's peaks to judge a model on, and how many were left out.

    Of held-out peaks, those whose windows share no base with a training window; all, with a
    notice, where that leaves none. "train" and "all" are taken as they are.
    """
    rows = split_rows(atlas, split)
    if split not in _HELD_OUT:
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


def seen_by_cells(model: ModelStore, split: str) -> str | None:
    """Return a sentence where a model's cells were solved on a held-out split's labels."""
    mapped = model.config.get("mapped")
    if split not in _HELD_OUT or not isinstance(mapped, Mapping):
        return None
    if mapped.get("split") not in ("all", split):
        return None
    return (
        f"The cells of {model.url} were solved on the labels of {split} peaks as well "
        f"(map --split {mapped['split']}), so figures on these are too good; evaluate the model "
        "that was mapped onto."
    )


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
