"""What a model is, wherever it lies: the part of a job's configuration that names its weights.

Workers load the model themselves. One that is still being trained may have moved on by then, so
they compare what they loaded with what the job began with.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np
import torch

from atlasbasset.inference.model import Model, load_model
from atlasstore.errors import AtlasError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from atlasbasset.batch.run import Workers

__all__ = ["ModelSource", "digest_of", "model_identity"]


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
        ``sha256`` of the trunk and the cells' table as loaded, of the cells' names and batches;
        ``compute``, the arithmetic.
    """
    parts = [value for name, values in _parts(model) for value in ([name], values)]
    names = [str(name) for name in model.obs_names]
    return {"sha256": digest_of(*parts, names), "compute": str(model.compute_dtype)}


def _parts(model: Model) -> Iterator[tuple[str, NDArray[np.generic]]]:
    for name, tensor in sorted(model.trunk.state_dict().items()):
        yield name, tensor.cpu().numpy()
    tables = ("cell_embedding", "intercept", "batch", "batch_embedding", "batch_intercept")
    for name in tables:
        if (values := getattr(model, name)) is not None:
            yield name, values


@dataclass(frozen=True, eq=False)
class ModelSource:
    """A model as a work holds it: in memory in this process, loaded by each worker elsewhere."""

    model: Model | str
    """A model in memory, or the URL to load it from."""
    identity: Mapping[str, str]
    """What `model_identity` returned in the driver."""
    device: str | None = None
    """Where a loaded one computes."""

    @classmethod
    def of(cls, model: Model, workers: Workers) -> Self:
        """Return the source of `model` for `workers`.

        Raises
        ------
        UserInputError
            When workers cannot reach it.
        """
        found = workers.reachable(model.url) if workers.count else model
        return cls(found, model_identity(model), workers.device)

    @cached_property
    def opened(self) -> Model:
        """The model; loaded once.

        Raises
        ------
        AtlasError
            When its store holds another one by now.
        """
        if isinstance(self.model, Model):
            return self.model
        is_bf16 = self.identity["compute"] == str(torch.bfloat16)
        found = load_model(self.model, compute="bf16" if is_bf16 else "fp32", device=self.device)
        if model_identity(found)["sha256"] != self.identity["sha256"]:
            raise AtlasError(
                f"{self.model} has changed since the job began; wait until its training has ended."
            )
        return found
