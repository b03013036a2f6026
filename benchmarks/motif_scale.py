"""TF activity of a model's own cells and of a million: what grows, and what does not.

The million cells are the model's, drawn again and again with noise of a tenth of their sd added, in
a model store like any other. Both runs are the `motifs` verb from store to store; rows: minutes of
inserting (which knows no cells) and of scoring and writing.

    python benchmarks/motif_scale.py MODEL ATLAS --motifs MEME [--cells 1000000] [--compute auto]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import harness
import numpy as np
import pandas as pd

from atlasbasset import load_model, motif_activity
from atlasbasset.engine.state import RunState
from atlasstore.events import Progress
from atlasstore.files import urls
from atlasstore.models.model_store import ModelStore
from atlasstore.zarrio import formats
from atlasstore.zarrio.blocks import plan_cell_blocks

if TYPE_CHECKING:
    from atlasbasset import Model


def with_more_cells(model: Model, url: str, n_cells: int) -> str:
    """Write a model of `n_cells` cells on the same trunk."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, model.n_cells, n_cells)
    noise = rng.standard_normal((n_cells, model.cell_embedding.shape[1]), np.float32)
    embedding = model.cell_embedding[drawn] + 0.1 * model.cell_embedding.std(0) * noise
    names = pd.Index([f"cell{i}" for i in range(n_cells)], dtype=object)
    store = ModelStore.create(
        url,
        obs=pd.DataFrame({"like": model.obs_names.to_numpy()[drawn]}, index=names),
        config={**model.config, "atlas": None},
        block_cells=plan_cell_blocks(n_cells)[0].n_cells,
        provenance=formats.provenance([], {"made": "benchmarks/motif_scale.py"}, 0),
    )
    writer = store.write_checkpoint(0)
    writer.begin({"cells/embedding": (embedding.shape[1],), "cells/intercept": ()})
    for block in store.blocks:
        cells = slice(block.start, block.stop)
        writer.write_rows("cells/embedding", block.start, embedding[cells])
        writer.write_rows("cells/intercept", block.start, model.intercept[drawn[cells]])
    writer.write_tensors("trunk", {k: v.numpy() for k, v in model.trunk.state_dict().items()})
    writer.commit(RunState().as_json())
    return url


class Clock:
    """When each stage was first and last heard of."""

    def __init__(self) -> None:
        self.first: dict[str, float] = {}
        self.last: dict[str, float] = {}

    def __call__(self, event: object) -> None:
        """Note the moment of progress."""
        if isinstance(event, Progress):
            now = time.perf_counter()
            self.first.setdefault(event.stage, now)
            self.last[event.stage] = now


def main() -> None:
    """Measure and append rows to results/motif_scale.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("atlas")
    parser.add_argument("--motifs", required=True)
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--backgrounds", type=int, default=1000)
    parser.add_argument("--compute", default="auto", choices=["auto", "bf16", "fp32"])
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder if absent")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        model = load_model(args.model)
        larger = with_more_cells(model, f"{folder}/more.zarr", args.cells)
        for url, n_cells in ((args.model, model.n_cells), (larger, args.cells)):
            clock, out, began = Clock(), f"{folder}/out-{n_cells}.zarr", time.perf_counter()
            report = motif_activity(
                url, args.atlas, motifs=args.motifs, out=out, n_backgrounds=args.backgrounds,
                compute=args.compute, on_event=clock,
            )  # fmt: skip
            ended = time.perf_counter()
            inserted = clock.last["inserting motifs"]
            config = {"motifs": report.n_motifs, "backgrounds": args.backgrounds,
                      "compute": args.compute, "stored_bytes": urls.stored_bytes(out)}  # fmt: skip
            rows += [
                harness.row("motif_scale", part, "time", "min", n_cells, [seconds / 60], **config)
                for part, seconds in (
                    ("inserting", inserted - began),
                    ("scoring and writing", ended - inserted),
                    ("whole", ended - began),
                )
            ]
    harness.append("motif_scale", rows)


if __name__ == "__main__":
    main()
