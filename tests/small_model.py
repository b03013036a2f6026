"""Small models with random weights, as PublishedWeights and as stores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path  # noqa: TC003 - as in small_atlas

import numpy as np
import pandas as pd

from atlasbasset.core.config import TrunkConfig
from atlasbasset.core.trunk import Trunk
from atlasbasset.engine.config import TrainConfig
from atlasbasset.verbs.weights import _write_checkpoint
from atlasbasset.weights import PublishedWeights
from atlasstore.models.model_store import ModelStore
from atlasstore.zarrio import formats
from atlasstore.zarrio.blocks import plan_cell_blocks
from small_atlas import FEW_BLOCKS

TINY = TrunkConfig(
    window_bp=384,
    stem_filters=8,
    tower_filters=(8, 9, 10, 11, 12, 13),
    prebottleneck_filters=6,
    embedding_dim=5,
)


def random_weights(
    rng: np.random.Generator, n_cells: int, *, config: TrunkConfig = TINY, n_batches: int = 0
) -> PublishedWeights:
    """Every weight, offset and statistic random, so that nothing cancels or is neutral."""
    trunk = {}
    for name, value in (
        Trunk.initialised(config, seed=int(rng.integers(1 << 30))).state_dict().items()
    ):
        drawn = value.numpy().copy()
        if "norm" in name:
            drawn = rng.normal(size=value.shape)
            drawn = np.abs(drawn) + 0.5 if name.endswith("running_var") else drawn
        trunk[name] = drawn.astype(np.float32)
    width = config.embedding_dim
    return PublishedWeights(
        trunk=trunk,
        embedding=_normal(rng, n_cells, width),
        intercept=_normal(rng, n_cells),
        batch_embedding=_normal(rng, n_batches, width) if n_batches else None,
        batch_intercept=_normal(rng, n_batches) if n_batches else None,
        batch=rng.integers(0, n_batches, n_cells) if n_batches else None,
    )


def _normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype(np.float32)


def write_model(
    url: str | Path,
    weights: PublishedWeights,
    *,
    config: TrunkConfig = TINY,
    obs: pd.DataFrame | None = None,
) -> str:
    """Write a model store of `weights`; cells are cell0, cell1, ... as in `make_atlas`."""
    n_cells = len(weights.intercept)
    if obs is None:
        obs = pd.DataFrame({"n_peaks": np.arange(n_cells) + 5}, index=_cell_names(n_cells))
    batches = []
    if weights.batch is not None:
        batches = [f"batch{i}" for i in range(len(weights.batch_embedding))]
        obs = obs.assign(scbasset_batch=weights.batch)
    store = ModelStore.create(
        url,
        obs=obs,
        config={"train": replace(TrainConfig(), trunk=config).as_json(), "atlas": None},
        block_cells=plan_cell_blocks(n_cells, min_blocks=FEW_BLOCKS)[0].n_cells,
        batches=batches,
        provenance=formats.provenance([], {}, None),
    )
    _write_checkpoint(store, weights)
    return str(url)


def _cell_names(n_cells: int) -> list[str]:
    return [f"cell{i}" for i in range(n_cells)]
