"""The one shape all weight formats are turned into and out of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from atlasbasset.core.config import TrunkConfig
from atlasbasset.core.trunk import Trunk
from atlasstore.errors import UserInputError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["PublishedWeights", "as_floats", "check_weights"]

_REMEDY = "give a file of the published architecture, written whole."


@dataclass(frozen=True, slots=True)
class PublishedWeights:
    """A whole model, float32, in this project's names and orders."""

    trunk: dict[str, NDArray[Any]]
    """`Trunk.state_dict` names -> values."""
    embedding: NDArray[np.float32]
    """(N, E)."""
    intercept: NDArray[np.float32]
    """(N,)."""
    batch_embedding: NDArray[np.float32] | None = None
    """(n_batches, E); None without batch correction."""
    batch_intercept: NDArray[np.float32] | None = None
    """(n_batches,)."""
    batch: NDArray[np.int64] | None = None
    """(N,), each cell's batch, where the file tells."""
    obs_names: tuple[str, ...] | None = None
    """(N,), the cells, where the file names them."""
    batches: tuple[str, ...] | None = None
    """(n_batches,), the batches, where the file names them."""
    stem_pool_lead: int = 0
    """Positions before the sequence at which the stem's max-pool begins: 1 in scvi-tools' port."""

    def trunk_config(self) -> TrunkConfig:
        """Return the architecture the weights have; window and pools are the published ones."""
        n_tower = sum(n.startswith("tower.") and n.endswith(".weight") for n in self.trunk)
        return TrunkConfig(
            stem_filters=len(self.trunk["stem.weight"]),
            tower_filters=tuple(len(self.trunk[f"tower.{i}.weight"]) for i in range(n_tower)),
            prebottleneck_filters=len(self.trunk["prebottleneck.weight"]),
            embedding_dim=len(self.trunk["bottleneck.weight"]),
            stem_pool_lead=self.stem_pool_lead,
        )


def as_floats(
    values: NDArray[Any], n_axes: int, *, name: str, path: str | Path
) -> NDArray[np.float32]:
    """Return the values of one array of a weight file as float32.

    Raises
    ------
    UserInputError
        When it has another number of axes, or does not hold numbers.
    """
    if values.ndim != n_axes or values.dtype.kind not in "fiu":
        raise UserInputError(
            f"{path}: {name} is of shape {values.shape} and type {values.dtype}, where {n_axes} "
            f"axes of numbers are needed; {_REMEDY}"
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused
        return np.ascontiguousarray(values, dtype=np.float32)


def check_weights(weights: PublishedWeights, path: str | Path) -> None:
    """Check every shape against the model that the weights make, and that all values are finite.

    Raises
    ------
    UserInputError
        Names the first array that does not fit, in our names, or that the architecture lacks.
    """
    found, expected = {**weights.trunk, **_cell_arrays(weights)}, _expected(weights)
    if unknown := sorted(weights.trunk.keys() - expected.keys()):
        raise UserInputError(
            f"{path}: the published architecture has no {', '.join(unknown)}; {_REMEDY}"
        )
    for name, shape in expected.items():
        values = found.get(name)
        if values is None or values.shape != shape or not values.size:
            has = "absent" if values is None else f"of shape {values.shape}"
            raise UserInputError(f"{path}: {name} is {has}, where {shape} is needed; {_REMEDY}")
        if not np.isfinite(values).all() or (name.endswith("running_var") and values.min() < 0):
            raise UserInputError(
                f"{path}: {name} holds values that are not finite, or negative variances; give "
                "the weights of a training run that converged."
            )
    _check_batch(weights, path)


def _cell_arrays(weights: PublishedWeights) -> dict[str, NDArray[Any] | None]:
    names = ("embedding", "intercept", "batch_embedding", "batch_intercept")
    return {name: getattr(weights, name) for name in names}


def _expected(weights: PublishedWeights) -> dict[str, tuple[int, ...]]:
    """Return the shape that each array must have: sizes of stages and tables follow from one."""
    config = weights.trunk_config()
    with torch.device("meta"):
        shapes = {name: tuple(v.shape) for name, v in Trunk(config).state_dict().items()}
    width, n_cells = config.embedding_dim, len(weights.intercept)
    shapes |= {"embedding": (n_cells, width), "intercept": (n_cells,)}
    if weights.batch_embedding is not None:
        n_batches = len(weights.batch_embedding)
        shapes |= {"batch_embedding": (n_batches, width), "batch_intercept": (n_batches,)}
    return shapes


def _check_batch(weights: PublishedWeights, path: str | Path) -> None:
    """Check the batch of each cell, where the file tells it."""
    if weights.batch is None or weights.batch_embedding is None:
        return
    n_cells, n_batches = len(weights.intercept), len(weights.batch_embedding)
    is_code = (weights.batch >= 0) & (weights.batch < n_batches)
    if weights.batch.shape != (n_cells,) or not is_code.all():
        raise UserInputError(
            f"{path}: the batches of {len(weights.batch)} cells are not codes from 0 to "
            f"{n_batches - 1} of {n_cells} cells; {_REMEDY}"
        )
    if weights.batches is not None and len(weights.batches) != n_batches:
        raise UserInputError(
            f"{path}: {len(weights.batches)} names of {n_batches} batches; {_REMEDY}"
        )
