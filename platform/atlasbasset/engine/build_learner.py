"""Building a worker's learner: trunk, cell layer, optimisers and their initial values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from atlasbasset.core.cell_adam import CellAdam
from atlasbasset.core.cells import CellLayer
from atlasbasset.core.compute import compute_dtype_for
from atlasbasset.core.step import Learner
from atlasbasset.core.trunk import Trunk
from atlasbasset.engine.checkpoints import trunk_from
from atlasbasset.engine.convolution_choice import convolution_for
from atlasstore.errors import UserInputError
from atlasstore.models.model_store import ModelStore

if TYPE_CHECKING:
    from torch import Tensor

    from atlasbasset.engine.config import TrainConfig
    from atlasbasset.engine.labels.host import WorkerData

__all__ = ["new_average", "new_learner"]

_ADAM_EPS = 1e-7  # Keras' default; torch's is 1e-8


def new_learner(
    config: TrainConfig,
    data: WorkerData,
    store: ModelStore,
    *,
    n_cells: int,
    device: torch.device,
) -> Learner:
    """Return an untrained learner of a worker's cells, with random cell embeddings.

    Parameters
    ----------
    n_cells
        N over all workers.
    """
    trunk = _trunk(config, store).to(device)
    dtype = compute_dtype_for(config.compute, device)
    trunk.convolution = convolution_for(config.convolution, dtype, device)
    cells = _cells(config, data, store).to(device)
    own_eps = _ADAM_EPS / n_cells if config.per_cell_eps else _ADAM_EPS
    betas = config.beta1, config.beta2
    return Learner(
        trunk=trunk,
        cells=cells,
        optimizer=torch.optim.Adam(
            [*trunk.parameters(), *cells.shared_parameters()],
            lr=config.learning_rate,
            betas=betas,
            eps=_ADAM_EPS,
            fused=True,
        ),
        cell_optimizer=CellAdam(cells, betas=betas, eps=own_eps),
        n_cells_total=n_cells,
        compute_dtype=dtype,
        l2_cells=config.l2_cells,
        l2_batch=config.l2_batch,
        compiled=config.compile_trunk,
    )


def new_average(learner: Learner, config: TrainConfig) -> AveragedModel | None:
    """Return the running average of the trunk that `config` asks for, or None."""
    if not config.average:
        return None
    rule = get_ema_multi_avg_fn(config.average)
    return AveragedModel(learner.trunk, multi_avg_fn=rule, use_buffers=True)


def _trunk(config: TrainConfig, store: ModelStore) -> Trunk:
    trunk = Trunk.initialised(config.trunk, seed=config.seed)
    if config.init_from is not None and store.latest_name() is None:  # else a checkpoint has it
        trunk.load_state_dict(_start_trunk(config.init_from, store))
    return trunk


def _start_trunk(url: str, store: ModelStore) -> dict[str, Tensor]:
    """Return the trunk that `store` was started with: the same weights on every worker."""
    checkpoint, begun = ModelStore.open(url).newest(), store.config.get("start")
    if begun is not None and checkpoint.checksums["trunk.safetensors"] != begun["sha256"]:
        raise UserInputError(
            f"{url} was trained on since {store.url} was started with its trunk; delete "
            f"{store.url} and start again."
        )
    return trunk_from(checkpoint)


def _cells(config: TrainConfig, data: WorkerData, store: ModelStore) -> CellLayer:
    batch = None
    if store.batches:
        codes = store.obs["scbasset_batch"].to_numpy(np.int64)
        batch = torch.from_numpy(codes[data.start : data.stop])
    cells = CellLayer(
        data.n_cells, config.trunk.embedding_dim, batch=batch, n_batches=len(store.batches)
    )
    cells.initialise([(b.index, b.n_cells) for b in data.blocks], seed=config.seed)
    return cells
