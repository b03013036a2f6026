"""Files of weights as `import_weights` reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.torch
import torch

import atlasbasset
from atlasbasset.core.config import TrunkConfig
from atlasbasset.weights import write_keras
from atlasstore.errors import UserInputError
from fuzz.archive_changes import SAFETENSORS, TORCH
from fuzz.hdf5_changes import HDF5
from fuzz.target import Target
from fuzz.targets.digests import of_arrays, of_table
from small_model import random_weights

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ARCHIVES"]

_TRUNK = TrunkConfig(
    stem_filters=4, tower_filters=(4, 4, 5, 5, 6, 6), prebottleneck_filters=3, embedding_dim=2
)
_NORM = {"gamma": "weight", "beta": "bias"} | {n: n for n in ("running_mean", "running_var")}
"""Our names of the parts of a normalisation -> scvi-tools'."""
N_CELLS = 5


def _weights() -> Any:
    return random_weights(np.random.default_rng(6), N_CELLS, config=_TRUNK, n_batches=2)


def _write_keras(folder: Path) -> None:
    write_keras(folder / "weights.h5", _weights())


def _state() -> dict[str, torch.Tensor]:
    """What scvi-tools' port saves."""
    weights = _weights()
    state = {
        "cell_embedding": torch.from_numpy(weights.embedding.T.copy()),
        "cell_bias": torch.from_numpy(weights.intercept),
        "batch_ids": torch.from_numpy(weights.batch)[:, None],
        "batch_emdedding.weight": torch.from_numpy(weights.batch_embedding),
    }
    for name, values in weights.trunk.items():
        stage, _, part = name.replace("prebottleneck", "pre_bottleneck").rpartition(".")
        kind = "dense" if stage == "bottleneck" else "conv"
        their = f"batch_norm.{_NORM[part]}" if stage.endswith(".norm") else f"{kind}.{part}"
        state[f"{stage.removesuffix('.norm')}.{their}"] = torch.from_numpy(values)
    return state


def _write_torch(folder: Path) -> None:
    names = np.array([f"cell{i}" for i in range(N_CELLS)], dtype=object)
    registry = {"batch": {"state_registry": {"categorical_mapping": np.array(["a", "b"], object)}}}
    attributes = {"registry_": {"field_registries": registry}}
    whole = {"model_state_dict": _state(), "var_names": names, "attr_dict": attributes}
    torch.save(whole, folder / "weights.pt")


def _write_safetensors(folder: Path) -> None:
    safetensors.torch.save_file(_state(), folder / "weights.safetensors")


def _imported(folder: Path, name: str) -> str:
    """Import, and read the model; what is refused leaves nothing behind."""
    out = folder / "model.zarr"
    try:
        batches = list("abbab") if name.endswith(".h5") else None  # the others have their own
        atlasbasset.import_weights(folder / name, out=out, batches=batches)
    except UserInputError:
        left = [p.name for p in folder.iterdir() if p.name != name]
        assert not left, f"refused, but {left} is left"
        raise
    model = atlasbasset.load_model(out, device="cpu")
    trunk = [value.numpy() for value in model.trunk.state_dict().values()]
    arrays = [*trunk, model.cell_embedding, model.intercept]
    assert all(np.isfinite(values).all() for values in arrays)
    return f"{of_table(model.obs)} {model.batches} {of_arrays(*arrays)}"


def _target(name: str, write: Any, file: str, changes: Any) -> Target:
    return Target(name, write, lambda folder: _imported(folder, file), {file: changes})


ARCHIVES = (
    _target("TensorFlow weights", _write_keras, "weights.h5", HDF5),
    _target("torch.save", _write_torch, "weights.pt", TORCH),
    _target("safetensors", _write_safetensors, "weights.safetensors", SAFETENSORS),
)
