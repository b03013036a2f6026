"""How many sequences a second one training step takes: ours and the peers'.

Full model, batch 128, 2 % positives, random input; every provider in this one process, in turn.

    python benchmarks/training_speed.py [--cells 2000] [--repeats 7]
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
from atlasbasset.core.config import TrunkConfig
from atlasbasset.core.loss_types import Positives
from atlasbasset.core.runtime import LocalRuntime
from atlasbasset.core.step import Batch, Learner, StepPace
from atlasbasset.core.trunk import Trunk

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH, DENSITY, FLANK = 128, 0.02, 3


def our_step(codes: torch.Tensor, labels: torch.Tensor, dtype: torch.dtype) -> Callable[[], None]:
    """Return a function that takes one of our training steps, augmentation included."""
    config = TrunkConfig()
    trunk, cells = Trunk.initialised(config, seed=0), CellLayer(labels.shape[1], 32)
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
    shift, reverse = torch.randint(-FLANK, FLANK + 1, (BATCH,)), torch.rand(BATCH) < 0.5
    batch = Batch(codes, shift, reverse, torch.rand(BATCH, 32) > 0.2, Positives(cell, row))
    runtime = LocalRuntime(torch.device("cpu"))
    return lambda: learner.step(batch, runtime, StepPace(0.01, visits=1)) and None


def main() -> None:
    """Measure and append rows to results/training_speed.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    codes = torch.from_numpy(rng.integers(0, 4, (BATCH, 1344 + 2 * FLANK), dtype=np.uint8))
    labels = torch.from_numpy(rng.random((BATCH, args.cells)) < DENSITY)
    onehot = torch.nn.functional.one_hot(codes[:, FLANK:-FLANK].long(), 4).float()
    onehot = onehot.permute(0, 2, 1).contiguous()
    steps = {
        "atlasbasset bf16": our_step(codes, labels, torch.bfloat16),
        "atlasbasset fp32": our_step(codes, labels, torch.float32),
        "plain torch bf16 autocast": peers.plain_step(onehot, labels.float(), bf16=True),
        "plain torch fp32": peers.plain_step(onehot, labels.float(), bf16=False),
        "scvi-tools fp32": peers.scvi_step(codes[:, FLANK:-FLANK], labels.float()),
    }
    seconds = harness.take_turns(
        {name: step for name, step in steps.items() if step}, repeats=args.repeats
    )
    rows = [
        harness.row(
            "training_speed", name, "throughput", "sequences/s", args.cells,
            [BATCH / s for s in values],
            batch=BATCH, density=DENSITY, threads=torch.get_num_threads(), repeats=args.repeats,
        )
        for name, values in seconds.items()
    ]  # fmt: skip
    harness.append("training_speed", rows)


if __name__ == "__main__":
    main()
