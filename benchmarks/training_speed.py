"""How many sequences a second one training step takes: ours and the peers'.

Full model, batch 128, 2 % positives, random input; every provider in this one process, in turn:
first the peers, then ours, which keep freed memory as `train` does. bfloat16 is left out where the
processor would emulate it.

    python benchmarks/training_speed.py [--cells 2000] [--repeats 7] [--batch 128]
        [--tensorflow PYTHON]

PYTHON is one that has the released TensorFlow code (see released_tensorflow.py).
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import harness
import numpy as np
import peers
import torch

from atlasbasset.core.cell_adam import CellAdam
from atlasbasset.core.cells import CellLayer
from atlasbasset.core.compute import compute_dtype_for
from atlasbasset.core.config import TrunkConfig
from atlasbasset.core.loss_types import Positives
from atlasbasset.core.runtime import LocalRuntime
from atlasbasset.core.step import Batch, Learner, StepPace
from atlasbasset.core.trunk import Trunk
from atlasstore.memory import keeping_freed

if TYPE_CHECKING:
    from collections.abc import Callable

    from atlasbasset.core.compute import Convolution

DENSITY, FLANK = 0.02, 3


def our_step(
    codes: torch.Tensor,
    labels: torch.Tensor,
    dtype: torch.dtype,
    convolution: Convolution = "direct",
) -> Callable[[], None]:
    """Return a function that takes one of our training steps, augmentation included."""
    config, n_rows = TrunkConfig(), len(codes)
    trunk, cells = Trunk.initialised(config, seed=0), CellLayer(labels.shape[1], 32)
    trunk.convolution = convolution
    cells.initialise([(0, labels.shape[1])], seed=0)
    adam = {"betas": (0.95, 0.9995), "eps": 1e-7}
    learner = Learner(
        trunk=trunk,
        cells=cells,
        optimizer=torch.optim.Adam(trunk.parameters(), lr=0.01, fused=True, **adam),
        cell_optimizer=CellAdam(cells, **adam),
        n_cells_total=labels.shape[1],
        compute_dtype=dtype,
    )
    cell, row = labels.T.nonzero(as_tuple=True)
    shift, reverse = torch.randint(-FLANK, FLANK + 1, (n_rows,)), torch.rand(n_rows) < 0.5
    batch = Batch(codes, shift, reverse, torch.rand(n_rows, 32) > 0.2, Positives(cell, row))
    runtime = LocalRuntime(torch.device("cpu"))
    return lambda: learner.step(batch, runtime, StepPace(0.01, visits=1)) and None


def _has_bfloat16() -> bool:
    return compute_dtype_for("auto", torch.device("cpu")) == torch.bfloat16


def _peers(
    codes: torch.Tensor, labels: torch.Tensor, tensorflow: str | None
) -> dict[str, Callable[[], None] | None]:
    onehot = torch.nn.functional.one_hot(codes[:, FLANK:-FLANK].long(), 4).float()
    onehot = onehot.permute(0, 2, 1).contiguous()
    steps = {
        "plain torch fp32": peers.plain_step(onehot, labels.float(), bf16=False),
        "scvi-tools fp32": peers.scvi_step(codes[:, FLANK:-FLANK], labels.float()),
    }
    if _has_bfloat16():
        steps["plain torch bf16 autocast"] = peers.plain_step(onehot, labels.float(), bf16=True)
    if tensorflow:
        released = peers.released_step(tensorflow, codes[:, FLANK:-FLANK], labels)
        steps["released TensorFlow code fp32"] = released
    return steps


def _ours(codes: torch.Tensor, labels: torch.Tensor) -> dict[str, Callable[[], None]]:
    steps = {
        "atlasbasset fp32 direct": our_step(codes, labels, torch.float32),
        "atlasbasset fp32 minimal": our_step(codes, labels, torch.float32, "minimal"),
    }
    if _has_bfloat16():
        steps["atlasbasset bf16"] = our_step(codes, labels, torch.bfloat16)
    return steps


def main() -> None:
    """Measure and append rows to results/training_speed.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--tensorflow", metavar="PYTHON")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    codes = torch.from_numpy(rng.integers(0, 4, (args.batch, 1344 + 2 * FLANK), dtype=np.uint8))
    labels = torch.from_numpy(rng.random((args.batch, args.cells)) < DENSITY)
    theirs = {name: step for name, step in _peers(codes, labels, args.tensorflow).items() if step}
    seconds = harness.take_turns(theirs, repeats=args.repeats)
    with keeping_freed():
        seconds |= harness.take_turns(_ours(codes, labels), repeats=args.repeats)
    rows = [
        harness.row(
            "training_speed", name, "throughput", "sequences/s", args.cells,
            [args.batch / s for s in values],
            batch=args.batch, density=DENSITY, repeats=args.repeats, **harness.limits(),
        )
        for name, values in seconds.items()
    ]  # fmt: skip
    harness.append("training_speed", rows)


if __name__ == "__main__":
    main()
