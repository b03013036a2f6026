"""Embeddings of an atlas's peaks by a trained trunk, divided among the workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from atlasbasset.core.inference import embed_codes
from atlasbasset.core.runtime import gather_rows, share_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from atlasbasset.core.runtime import Runtime
    from atlasbasset.core.step import Learner

__all__ = ["embed_shared"]


def embed_shared(
    learner: Learner, codes: Tensor, peaks: NDArray[np.int64], runtime: Runtime
) -> Tensor:
    """Embed `peaks`, rows of `codes`: running statistics, no augmentation; the same on all workers.

    Returns
    -------
    Tensor
        float32 (len(peaks), E), on the worker's device.
    """
    share = share_of(len(peaks), runtime.rank, runtime.world)
    own = codes[torch.from_numpy(peaks[share])]
    found = embed_codes(learner.trunk, own, compute_dtype=learner.compute_dtype)
    return gather_rows(found.to(runtime.device), share, len(peaks), runtime)
