"""Processes that have all imported already when they start: forked from one that imported it."""

from __future__ import annotations

import multiprocessing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext

PRELOADED = [
    "one_compiler",
    *("anndata", "Bio.bgzf", "h5py", "hdf5plugin", "pydantic.type_adapter", "s3fs", "typer.main"),
    # what numba imports when it loads the first function that it has compiled before
    *("numba.np.npyimpl", "numba.np.linalg", "numba.np.random.generator_methods"),
    *("numba.cpython.unicode", "numba.core.typing.cffi_utils", "numba.typed.typeddict"),
    "torch._dynamo",  # by the first optimiser
    "atlasbasset.core._fused_cpu_tensors",
    "atlasbasset.core._loss_cpu",
    "atlasbasset.core._tiles_cpu",
    "atlasbasset.core.incremental",
    "atlasbasset.core.minimal",
    *(
        f"atlasbasset.verbs.{verb}.plan"
        for verb in ("denoise", "embed", "evaluate", "ism", "map_cells", "match", "motifs")
    ),
    "atlasbasset.verbs.train.plan",
    "atlasbasset.verbs.variants.plan",
    "atlasbasset.verbs.weights",
    "atlasbasset.engine.launch",
    "atlasbasset.engine.loop",
    "atlasjobs.cli",
    "atlasjobs.output.console",
    "atlasstore.preprocess._steps",
    "atlasstore.transpose",
]


def fork_server() -> ForkServerContext:
    """Return the context whose processes are forked; one that starts should call `gc.freeze`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context
