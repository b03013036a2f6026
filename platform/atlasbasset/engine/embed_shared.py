"""Embeddings of an atlas's peaks by a trained trunk, divided among the workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from atlasbasset.core.inference import EMBED_BATCH, embed_codes
from atlasbasset.core.runtime import gather_rows, share_of
from atlasbasset.engine.events import EMBEDDING
from atlasstore.events import Progress, ignore
from atlasstore.zarrio.blocks import runs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from atlasbasset.core.runtime import Runtime
    from atlasbasset.core.step import Learner
    from atlasstore.events import Subscriber

__all__ = ["embed_shared"]

_AT_ONCE = 4 * EMBED_BATCH
"""Peaks between two events: whole batches, so that cutting changes nothing."""


def embed_shared(
    learner: Learner,
    codes: Tensor,
    peaks: NDArray[np.int64],
    runtime: Runtime,
    *,
    stage: str = EMBEDDING,
    on_event: Subscriber = ignore,
) -> Tensor:
    """Embed `peaks`, rows of `codes`: running statistics, no augmentation; the same on all workers.

    Returns
    -------
    Tensor
        float32 (len(peaks), E), on the worker's device.
    """
    share = share_of(len(peaks), runtime.rank, runtime.world)
    own = codes[torch.from_numpy(peaks[share])]
    parts = [own[:0].new_empty((0, learner.trunk.config.embedding_dim), dtype=torch.float32)]
    on_event(Progress(stage, 0, len(own), "peaks"))
    for start, stop in runs(len(own), _AT_ONCE):
        part = own[start:stop]
        parts.append(embed_codes(learner.trunk, part, compute_dtype=learner.compute_dtype))
        on_event(Progress(stage, stop, len(own), "peaks"))
    found = torch.cat([part.to(runtime.device) for part in parts])
    return gather_rows(found, share, len(peaks), runtime)
