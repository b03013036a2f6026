"""scvi-tools' port of the model (``SCBASSET``): a saved ``model.pt``, or its state dict.

How the port differs from the released model, and what becomes of it here:

* its bottleneck flattens (256, 7) channel by channel: the weight's columns are permuted;
* the stem's max-pool begins one position before the sequence (and leaves the last one out):
  `TrunkConfig.stem_pool_lead` is 1;
* batches have an embedding but no intercept: the intercepts are 0.

`model.pt` also names the cells and the batches. It is read without running anything in it
(`torch_file`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from atlasbasset.weights.published import PublishedWeights, as_floats
from atlasbasset.weights.torch_file import read_torch_file
from atlasstore.errors import UserInputError
from atlasstore.files import urls

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["read_scvi"]

_STAGES = {
    "stem": "stem",
    **{f"tower.{i}": f"tower.{i}" for i in range(6)},
    "pre_bottleneck": "prebottleneck",
}
_BN_PARTS = {
    "gamma": "weight",
    "beta": "bias",
    "running_mean": "running_mean",
    "running_var": "running_var",
}
_BATCH_EMBEDDING = ("batch_emdedding.weight", "batch_embedding.weight")  # scvi-tools' spelling
_STEM_POOL_LEAD = 1

_TEXTS = {
    "obs_names": ("var_names",),  # its cells are the columns of its AnnData
    "batches": (
        *("attr_dict", "registry_", "field_registries", "batch", "state_registry"),
        "categorical_mapping",
    ),
}
"""What beside the tensors is read of a whole model, and where it is."""

_State = dict[str, "NDArray[Any]"]
_Floats = Callable[[str, int], "NDArray[np.float32]"]
"""Name of a tensor and its number of axes -> its values."""


def read_scvi(path: str | Path) -> PublishedWeights:
    """Read a saved SCBASSET model.

    Parameters
    ----------
    path
        ``model.pt``, the folder that `SCBASSET.save` wrote, or a state dict saved with
        ``torch.save`` or as safetensors; a local path.

    Raises
    ------
    UserInputError
        When the file cannot be read or is not of the published architecture.
    """
    local = urls.local_path(path)
    found = read_torch_file(local / "model.pt" if local.is_dir() else local, texts=_TEXTS)
    state = found.tensors
    _check_names(state, path)

    def floats(name: str, n_axes: int) -> NDArray[np.float32]:
        return as_floats(state[name], n_axes, name=name, path=path)

    batch_name = next((name for name in _BATCH_EMBEDDING if name in state), None)
    batch_embedding = None if batch_name is None else floats(batch_name, 2)
    n_batches = 0 if batch_embedding is None else len(batch_embedding)
    names, batches = found.texts.get("obs_names"), found.texts.get("batches")
    return PublishedWeights(
        trunk=_trunk(floats, path),
        embedding=np.ascontiguousarray(floats("cell_embedding", 2).T),
        intercept=floats("cell_bias", 1),
        batch_embedding=batch_embedding,
        batch_intercept=None if batch_embedding is None else np.zeros(n_batches, np.float32),
        batch=_batch(state),
        obs_names=None if names is None else tuple(names),
        batches=None if batches is None else tuple(batches),
        stem_pool_lead=_STEM_POOL_LEAD,
    )


def _batch(state: _State) -> NDArray[np.int64] | None:
    return state["batch_ids"].reshape(-1).astype(np.int64) if "batch_ids" in state else None


def _check_names(state: _State, path: str | Path) -> None:
    wanted = ["cell_embedding", "cell_bias", "bottleneck.dense.weight"]
    wanted += [f"{stage}.conv.weight" for stage in _STAGES]
    wanted += [f"{s}.batch_norm.{part}" for s in (*_STAGES, "bottleneck") for part in _norm_parts()]
    missing = [name for name in wanted if name not in state]
    if missing:
        raise UserInputError(
            f"{path} lacks {len(missing)} of the {len(wanted)} tensors of scvi-tools' SCBASSET "
            f"(first: {missing[0]}); give the model.pt that SCBASSET.save wrote, or its state dict."
        )


def _norm_parts() -> tuple[str, ...]:
    return tuple(_BN_PARTS.values())


def _trunk(floats: _Floats, path: str | Path) -> dict[str, NDArray[np.float32]]:
    trunk: dict[str, NDArray[np.float32]] = {}
    for theirs, ours in _STAGES.items():
        trunk[f"{ours}.weight"] = floats(f"{theirs}.conv.weight", 3)
        trunk |= _norm(floats, theirs, ours)
    channels = len(trunk["prebottleneck.weight"])
    weight = floats("bottleneck.dense.weight", 2)
    if not channels or weight.shape[1] % channels:
        raise UserInputError(
            f"{path}: bottleneck.dense.weight has {weight.shape[1]} columns, which is no multiple "
            f"of the {channels} channels before it; give a model of the published architecture."
        )
    trunk["bottleneck.weight"] = _position_major(weight, channels=channels)
    return trunk | _norm(floats, "bottleneck", "bottleneck")


def _norm(floats: _Floats, theirs: str, ours: str) -> dict[str, NDArray[np.float32]]:
    return {
        f"{ours}.norm.{part}": floats(f"{theirs}.batch_norm.{name}", 1)
        for part, name in _BN_PARTS.items()
    }


def _position_major(weight: NDArray[np.float32], *, channels: int) -> NDArray[np.float32]:
    """Reorder columns from (channel, position) to (position, channel)."""
    outputs, inputs = weight.shape
    by_channel = weight.reshape(outputs, channels, inputs // channels)
    return np.ascontiguousarray(by_channel.transpose(0, 2, 1).reshape(outputs, inputs))
