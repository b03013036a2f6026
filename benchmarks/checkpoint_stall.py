"""How long a checkpoint holds training up, and how long it takes to be written next to it.

python benchmarks/checkpoint_stall.py [--cells 1000000] [--repeats 5]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import harness
import numpy as np
import pandas as pd
import torch

from atlasbasset.core.cell_adam import CellAdam
from atlasbasset.core.cells import CellLayer
from atlasbasset.core.config import TrunkConfig
from atlasbasset.core.runtime import LocalRuntime
from atlasbasset.core.step import Learner
from atlasbasset.core.trunk import Trunk
from atlasbasset.engine.checkpoints import Saver
from atlasbasset.engine.state import RunState
from atlasstore.models.model_store import ModelStore
from atlasstore.zarrio import formats
from atlasstore.zarrio.blocks import plan_cell_blocks


def learner_of(n_cells: int) -> Learner:
    trunk, cells = Trunk.initialised(TrunkConfig(), seed=0), CellLayer(n_cells, 32)
    torch.nn.init.normal_(cells.embedding, std=0.25)
    adam = {"betas": (0.95, 0.9995), "eps": 1e-7}
    optimizer = torch.optim.Adam(trunk.parameters(), lr=0.01, fused=True, **adam)
    return Learner(
        trunk=trunk,
        cells=cells,
        optimizer=optimizer,
        cell_optimizer=CellAdam(cells, **adam),
        n_cells_total=n_cells,
        compute_dtype=torch.bfloat16,
    )


def main() -> None:
    """Measure and append rows to results/checkpoint_stall.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    learner, state = learner_of(args.cells), RunState()
    stalls, whole = [], []
    with tempfile.TemporaryDirectory() as folder:
        store = ModelStore.create(
            str(Path(folder) / "model.zarr"),
            obs=pd.DataFrame(index=np.arange(args.cells).astype(str)),
            config={},
            block_cells=plan_cell_blocks(args.cells)[0].n_cells,
            provenance=formats.provenance([], {}, 0),
        )
        saver = Saver(store, first_cell=0, runtime=LocalRuntime(torch.device("cpu")))
        for repeat in range(args.repeats):
            state.total_steps = repeat
            began = time.perf_counter()
            saver.save(learner, state, None)
            stalls.append(time.perf_counter() - began)
            saver.finish()
            whole.append(time.perf_counter() - began)
        saver.close()
    rows = [
        harness.row("checkpoint_stall", name, "time", "s", args.cells, values)
        for name, values in (("training waits", stalls), ("written beside it", whole))
    ]
    harness.append("checkpoint_stall", rows)


if __name__ == "__main__":
    main()
