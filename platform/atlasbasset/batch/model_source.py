"""What a model is, wherever it is stored: the part of a job's configuration that names its weights.

Workers load the trunk themselves. A model that is still being trained may have moved on by then, so
they compare what they loaded with what the job began with. The cells' table they are given: an
array of their work is one copy on each node (`RayExecutor`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Self, TypedDict, cast

import numpy as np
import torch

from atlasbasset.inference.model import Model, load_trunk
from atlasstore.errors import AtlasError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from atlasbasset.batch.executor import WorkerPool
    from atlasbasset.core.compute import Compute, Convolution
    from atlasbasset.core.trunk import Trunk
    from atlasbasset.inference.model import Embedder

__all__ = ["ModelSource", "digest_of", "model_identity", "trunk_digest"]


def digest_of(*values: NDArray[np.generic] | Sequence[str]) -> str:
    """Return the SHA-256 of arrays and lists of names, in this order."""
    digest = hashlib.sha256()
    for value in values:
        if isinstance(value, np.ndarray):
            digest.update(f"{value.dtype} {value.shape}\n".encode())
            digest.update(np.ascontiguousarray(value).data)
        else:
            digest.update("\n".join([*value, ""]).encode())
    return digest.hexdigest()


def model_identity(model: Model) -> dict[str, str]:
    """Return JSON values that are the same for two models only if they predict the same.

    Returns
    -------
    dict
        SHA-256 of the ``trunk``, of the ``cells``' table, both as loaded, and of the cells'
        ``names``; ``compute``, the arithmetic; ``convolution``, unless it is direct.
    """
    kind = model.trunk.convolution
    return {
        "trunk": trunk_digest(model.trunk),
        "cells": _cells_digest(model),
        "names": digest_of([str(name) for name in model.obs_names]),
        "compute": str(model.compute_dtype),
        **({} if kind == "direct" else {"convolution": kind}),
    }


def trunk_digest(trunk: Trunk) -> str:
    """Return the SHA-256 of a trunk's weights and statistics."""
    tensors = sorted(trunk.state_dict().items())
    return digest_of(*(part for name, t in tensors for part in ([name], t.cpu().numpy())))


def _cells_digest(model: Model) -> str:
    tables = ("cell_embedding", "intercept", "batch", "batch_embedding", "batch_intercept")
    found = ((name, getattr(model, name)) for name in tables)
    return digest_of(*(part for name, v in found if v is not None for part in ([name], v)))


class _Arithmetic(TypedDict):
    compute: Compute
    convolution: Convolution


@dataclass(frozen=True, eq=False)
class ModelSource:
    """A model's trunk as a work holds it: in memory here, loaded by each worker elsewhere."""

    model: Model | str
    """A model in memory, or the URL to load it from."""
    identity: Mapping[str, str]
    """What `model_identity` returned in the driver."""
    device: str | None = None
    """Where a loaded one computes."""

    @classmethod
    def of(cls, model: Model, pool: WorkerPool) -> Self:
        """Return the source of `model` for the workers of `pool`.

        Raises
        ------
        UserInputError
            When workers cannot reach it.
        """
        found = pool.worker_url(model.url) if pool.count else model
        return cls(found, model_identity(model), pool.device)

    @cached_property
    def embedder(self) -> Embedder:
        """What embeds, loaded once: the cells' table, large in an atlas, is not read.

        Raises
        ------
        AtlasError
            When its store holds another one by now.
        """
        if isinstance(self.model, Model):
            return self.model
        found = load_trunk(self.model, **self._arithmetic, device=self.device)
        if self.identity["trunk"] != trunk_digest(found.trunk):
            raise AtlasError(
                f"{self.model} has changed since the job began; wait until its training has ended."
            )
        return found

    @property
    def _arithmetic(self) -> _Arithmetic:
        """As the driver has it, whatever would be faster here."""
        is_bf16 = self.identity["compute"] == str(torch.bfloat16)
        kind = cast("Convolution", self.identity.get("convolution", "direct"))
        return {"compute": "bf16" if is_bf16 else "fp32", "convolution": kind}
