"""Checks of cells before any work: those of the model, and their labels and batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from atlasbasset.inference.cell_labels import cell_labels, check_batches, opened_table
from atlasbasset.metrics.confounding import batch_groups
from atlasstore.errors import UserInputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from atlasbasset.inference.cell_labels import Obs
    from atlasstore.atlas.atlas import Atlas

__all__ = ["Keys", "checked_keys"]


class Keys(NamedTuple):
    """Each cell's label and batch, None where not asked for."""

    label: NDArray[np.object_] | None
    batch: NDArray[np.object_] | None
    notices: tuple[str, ...]
    """What is to be said of them."""


def checked_keys(
    atlas: Atlas, label_key: str | None, batch_key: str | None, obs: Obs | None
) -> Keys:
    """Return each cell's label and batch, or raise what `evaluate` raises of them."""
    if obs is not None and label_key is None and batch_key is None:
        raise UserInputError(
            "a table of cells (obs) is there for its labels; name the column (label_key, "
            "batch_key)."
        )
    table = None if obs is None else opened_table(obs)
    found, notices = [], []
    for key, least in ((label_key, 0), (batch_key, 2)):
        labels = None if key is None else cell_labels(atlas.obs, key, obs=table, what=atlas.url)
        if labels is not None:
            warning = check_batches(labels, atlas.url, least=least) if least else None
            notices += [sentence for sentence in (labels.notice(), warning) if sentence]
        found.append(None if labels is None else labels.values())
    label, batch = found
    if label is not None and batch is not None and (sentence := _confounding(label, batch)):
        notices.append(sentence)
    return Keys(label, batch, tuple(notices))


def _confounding(label: NDArray[Any], batch: NDArray[Any]) -> str | None:
    groups = batch_groups(label, batch)
    if len(groups) < 2:
        return None
    shown = " | ".join(", ".join(group[:5]) + " ..." * (len(group) > 5) for group in groups[:5])
    more = f" | and {len(groups) - 5:,} more" if len(groups) > 5 else ""
    return (
        f"Labels and batches are confounded: no label joins {shown}{more}. Between these "
        "kBET and iLISI cannot tell a batch's effect from its cell types; no method could."
    )
