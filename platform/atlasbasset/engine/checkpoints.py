"""A learner to and from a model store; each worker writes and reads the rows of its own cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from torch import Tensor, nn

    from atlasbasset.core.runtime import Runtime
    from atlasbasset.core.step import Learner
    from atlasbasset.engine.state import RunState
    from atlasstore.model_store import Checkpoint, ModelStore

__all__ = ["cells_from", "load_learner", "save_learner", "trunk_from"]

_MOMENTS = ("exp_avg", "exp_avg_sq")


def save_learner(
    learner: Learner, state: RunState, store: ModelStore, *, first_cell: int, runtime: Runtime
) -> None:
    """Write a checkpoint; every worker calls it, rank 0 publishes it at the end."""
    writer = store.write_checkpoint(state.total_steps)
    if runtime.rank == 0:
        tables = {name: tuple(t.shape[1:]) for name, t in _cell_tables(learner).items()}
        writer.begin(tables)
    runtime.barrier()
    for name, values in _cell_tables(learner).items():
        writer.write_rows(name, first_cell, values.detach().cpu().numpy())
    if runtime.rank == 0:
        writer.write_tensors("trunk", _arrays(learner.trunk.state_dict()))
        writer.write_tensors("optimizer", _arrays(_shared_moments(learner)))
        if learner.cells.shared_parameters():
            writer.write_tensors("batches", _arrays(_batch_tables(learner)))
    runtime.barrier()
    if runtime.rank == 0:
        writer.commit(state.as_json())
        store.write_metrics(state.as_json()["history"])


def load_learner(learner: Learner, checkpoint: Checkpoint, *, first_cell: int) -> None:
    """Put a checkpoint's values into `learner`, this worker's cells starting at `first_cell`."""
    _restore_moments_layout(learner)
    learner.trunk.load_state_dict(_tensors(checkpoint.tensors("trunk")))
    with torch.no_grad():
        for name, values in _cell_tables(learner).items():
            rows = checkpoint.rows(name, first_cell, first_cell + values.shape[0])
            values.copy_(torch.from_numpy(rows))
        if learner.cells.shared_parameters():
            stored = _tensors(checkpoint.tensors("batches"))
            for name, values in _batch_tables(learner).items():
                values.copy_(stored[name])
        stored = _tensors(checkpoint.tensors("optimizer"))
        for name, values in _shared_moments(learner).items():
            values.copy_(stored[name])


def trunk_from(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Return the trunk's state dict."""
    return _tensors(checkpoint.tensors("trunk"))


def cells_from(checkpoint: Checkpoint, n_cells: int) -> dict[str, np.ndarray[Any, Any]]:
    """Return ``embedding`` (N, E) and ``intercept`` (N,), and the batch tables where there are."""
    tables = {
        name: checkpoint.rows(f"cells/{name}", 0, n_cells) for name in ("embedding", "intercept")
    }
    if checkpoint.has_tensors("batches"):
        tables |= checkpoint.tensors("batches")
    return tables


def _cell_parameters(learner: Learner) -> dict[str, nn.Parameter]:
    return {"embedding": learner.cells.embedding, "intercept": learner.cells.intercept}


def _cell_tables(learner: Learner) -> dict[str, Tensor]:
    """Every per-cell table of the learner: parameters, then the optimiser's moments."""
    tables: dict[str, Tensor] = {}
    for name, parameter in _cell_parameters(learner).items():
        tables[f"cells/{name}"] = parameter.detach()
        for moment in _MOMENTS:
            tables[f"optimizer/{name}/{moment}"] = learner.optimizer.state[parameter][moment]
    return tables


def _batch_tables(learner: Learner) -> dict[str, Tensor]:
    return {
        "batch_embedding": learner.cells.batch_embedding.detach(),
        "batch_intercept": learner.cells.batch_intercept.detach(),
    }


def _named_shared(learner: Learner) -> dict[str, nn.Parameter]:
    shared = dict(learner.trunk.named_parameters())
    if learner.cells.shared_parameters():
        shared["batch_embedding"] = learner.cells.batch_embedding
        shared["batch_intercept"] = learner.cells.batch_intercept
    return shared


def _shared_moments(learner: Learner) -> dict[str, Tensor]:
    """Moments of what every worker holds whole, and each parameter's step count."""
    found: dict[str, Tensor] = {}
    for name, parameter in _named_shared(learner).items():
        for moment in _MOMENTS:
            found[f"{name}.{moment}"] = learner.optimizer.state[parameter][moment]
        found[f"{name}.step"] = learner.optimizer.state[parameter]["step"]
    for name, parameter in _cell_parameters(learner).items():
        found[f"cells.{name}.step"] = learner.optimizer.state[parameter]["step"]
    return found


def _restore_moments_layout(learner: Learner) -> None:
    """Give the optimiser the state tensors that its first step would make."""
    for group in learner.optimizer.param_groups:
        for p in group["params"]:
            state = learner.optimizer.state[p]
            state["step"] = torch.zeros((), dtype=torch.float32, device=p.device)
            for moment in _MOMENTS:
                state[moment] = torch.zeros_like(p)


def _arrays(tensors: dict[str, Tensor]) -> dict[str, np.ndarray[Any, Any]]:
    return {name: t.detach().cpu().numpy() for name, t in tensors.items()}


def _tensors(arrays: dict[str, np.ndarray[Any, Any]]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.array(a)) for name, a in arrays.items()}
