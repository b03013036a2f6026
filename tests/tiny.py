"""A tiny trunk and atlases with something to learn, for tests of training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from atlasbasset.core.config import TrunkConfig
from atlasbasset.engine.config import RECIPES, TrainConfig
from small_atlas import FEW_BLOCKS, make_atlas

if TYPE_CHECKING:
    from pathlib import Path

WINDOW = 192
TRUNK = TrunkConfig(
    window_bp=WINDOW,
    stem_filters=12,
    stem_kernel=5,
    tower_filters=(8, 8, 9, 10, 11, 12),
    tower_kernel=3,
    prebottleneck_filters=16,
    embedding_dim=4,
)


def config(**changes: object) -> TrainConfig:
    """Settings under which the tiny atlas is learned in seconds."""
    values = {"epochs": 3, "batch_size": 16, "compute": "fp32", "trunk": TRUNK, "seed": 5}
    return TrainConfig(**(RECIPES["paper"] | values | changes))


def atlas(
    url: str | Path,
    *,
    n_cells: int = 40,
    n_peaks: int = 120,
    seed: int = 0,
    min_blocks: int = FEW_BLOCKS,
    **more_obs: object,
) -> str:
    """AT-rich peaks are open in the first half of the cells, GC-rich ones in the second."""
    rng = np.random.default_rng(seed)
    kind = rng.random(n_peaks) < 0.5
    odds = np.where(kind[:, None], [0.35, 0.15, 0.15, 0.35], [0.15, 0.35, 0.35, 0.15])
    draws = rng.random((n_peaks, WINDOW + 6, 1))
    codes = (draws > odds.cumsum(1)[:, None, :]).sum(2).clip(0, 3).astype(np.uint8)
    first = np.arange(n_cells)[:, None] < n_cells // 2
    open_probability = np.where(first == kind[None], 0.4, 0.05)
    labels = rng.random((n_cells, n_peaks)) < open_probability
    return make_atlas(
        url, labels, codes, max_block_cells=16, min_blocks=min_blocks, more_obs=more_obs
    )
