"""scvi-tools' port of the model (``SCBASSET``): a saved ``model.pt``, or its state dict.

How the port differs from the released model, and what becomes of it here:

* its bottleneck flattens (256, 7) channel by channel: the weight's columns are permuted;
* the stem's max-pool begins one position before the sequence (and leaves the last one out):
  `TrunkConfig.stem_pool_lead` is 1;
* batches have an embedding but no intercept: the intercepts are 0.

`model.pt` also names the cells and the batches. It is read without running anything in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from atlasbasset.weights.published import PublishedWeights
from atlasbasset.weights.torch_archive import read_archive, text_array
from atlasstore.errors import UserInputError
from atlasstore.files import urls

if TYPE_CHECKING:
    from collections.abc import Mapping
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

_State = dict[str, "NDArray[Any]"]


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
    archive = read_archive(local / "model.pt" if local.is_dir() else local)
    state = archive.tensors
    _check_names(state, path)
    batch_embedding = next((state[n] for n in _BATCH_EMBEDDING if n in state), None)
    names = text_array(archive.rest.get("var_names"))
    return PublishedWeights(
        trunk=_trunk(state),
        embedding=_owned(state["cell_embedding"].T),
        intercept=_owned(state["cell_bias"]),
        batch_embedding=None if batch_embedding is None else _owned(batch_embedding),
        batch_intercept=(
            None if batch_embedding is None else np.zeros(len(batch_embedding), np.float32)
        ),
        batch=state["batch_ids"].reshape(-1).astype(np.int64) if "batch_ids" in state else None,
        obs_names=None if names is None else tuple(names),
        batches=_batch_names(archive.rest),
        stem_pool_lead=_STEM_POOL_LEAD,
    )


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


def _trunk(state: _State) -> dict[str, NDArray[Any]]:
    trunk: dict[str, NDArray[Any]] = {}
    for theirs, ours in _STAGES.items():
        trunk[f"{ours}.weight"] = _owned(state[f"{theirs}.conv.weight"])
        trunk |= _norm(state, theirs, ours)
    trunk["bottleneck.weight"] = _position_major(
        state["bottleneck.dense.weight"], channels=state["pre_bottleneck.conv.weight"].shape[0]
    )
    return trunk | _norm(state, "bottleneck", "bottleneck")


def _norm(state: _State, theirs: str, ours: str) -> dict[str, NDArray[Any]]:
    return {
        f"{ours}.norm.{part}": _owned(state[f"{theirs}.batch_norm.{name}"])
        for part, name in _BN_PARTS.items()
    }


def _position_major(weight: NDArray[Any], *, channels: int) -> NDArray[np.float32]:
    """Reorder columns from (channel, position) to (position, channel)."""
    outputs, inputs = weight.shape
    by_channel = weight.reshape(outputs, channels, inputs // channels)
    return _owned(by_channel.transpose(0, 2, 1).reshape(outputs, inputs))


def _owned(array: NDArray[Any]) -> NDArray[np.float32]:
    return np.ascontiguousarray(array, dtype=np.float32)


def _batch_names(rest: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the batches' names in the order of their codes, where the file tells."""
    value: Any = rest
    for key in ("attr_dict", "registry_", "field_registries", "batch", "state_registry"):
        value = getattr(value, "items", None) if not isinstance(value, dict) else value
        value = value.get(key) if isinstance(value, dict) else None
    names = text_array(value.get("categorical_mapping")) if isinstance(value, dict) else None
    return None if names is None else tuple(names)
