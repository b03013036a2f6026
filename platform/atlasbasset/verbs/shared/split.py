"""Peaks by the split they belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from atlasstore.atlas.split import SPLITS
from atlasstore.errors import UserInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from atlasstore.atlas.atlas import Atlas

__all__ = ["Split", "split_rows"]

Split = Literal["train", "valid", "test", "all"]


def split_rows(atlas: Atlas, split: str) -> NDArray[np.int64]:
    """Return the rows of a split's peaks ("all": every peak), rising.

    Raises
    ------
    UserInputError
        There is no such split, or it holds no peaks.
    """
    if split not in (*SPLITS, "all"):
        raise UserInputError(f"split must be one of {', '.join(SPLITS)} or all, got {split!r}.")
    rows = np.arange(atlas.n_peaks) if split == "all" else atlas.peak_rows(split)
    if not rows.size:
        raise UserInputError(f"{atlas.url} has no {split} peaks; choose another split.")
    return rows
