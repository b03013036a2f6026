"""Whether an atlas holds the cells of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from atlasstore.errors import UserInputError

if TYPE_CHECKING:
    from atlasstore.atlas.atlas import Atlas
    from atlasstore.models.model_store import ModelStore

__all__ = ["check_same_cells"]


def check_same_cells(model: ModelStore, atlas: Atlas) -> None:
    """Raise UserInputError unless model and atlas have the same cells in the same order."""
    ours, theirs = model.obs.index, atlas.obs.index
    if len(ours) != len(theirs):
        raise UserInputError(
            f"{model.url} has {len(ours)} cells and {atlas.url} has {len(theirs)}; give the atlas "
            "the model was trained on."
        )
    differing = np.flatnonzero(np.asarray(ours) != np.asarray(theirs))
    if differing.size:
        first = differing[0]
        raise UserInputError(
            f"{model.url} and {atlas.url} have other cells or another order (cell {first} is "
            f"{ours[first]} in the model and {theirs[first]} in the atlas); give the atlas the "
            "model was trained on."
        )
