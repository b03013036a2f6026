"""Peak deviations in between, where `train` has them at the end: what the trunk learns of it.

Trials that no setting offers, so the training loop is changed here. "at the end" is `train` as it
is. "cells": after every epoch peaks and cells are solved in turn, and the trunk goes on against
these cells, on its sequences alone. "loss": the deviations stay in the loss as well, so that the
trunk learns only what they leave over; they are solved anew after every epoch.

    python benchmarks/deviations_between.py sim.zarr --label-key cell_type --train MODELS
        [--seeds 0 1] [--epochs 8]

Rows of each: auROC on held-out peaks, label scores with cosine distances, of the finished model's
cells with deviations and of those solved on the sequences alone. Small trunk: a third of the width.
"""

from __future__ import annotations

import argparse
from collections import defaultdict, deque
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import harness
import numpy as np
import torch
from embedding_quality import TRUNKS, measures, predicted, read
from embedding_variants import DEVIATING, PLAIN, Trained, variants

import atlasbasset
from atlasbasset.core import step
from atlasbasset.engine import loop
from atlasbasset.engine.batches import Feeder
from atlasbasset.engine.config import TrainConfig
from atlasbasset.engine.peak_deviations import deviate
from atlasbasset.metrics import SparseLabels
from atlasstore import Atlas

if TYPE_CHECKING:
    from atlasbasset.engine.final_solve import Solver

MODES = ("at the end", "cells", "loss")


class BetweenEpochs:
    """The training loop with deviations between its epochs."""

    def __init__(self) -> None:
        self._deviation: torch.Tensor | None = None
        self._peaks: deque[Any] = deque()
        """Of the batches that are made and not yet taken."""

    def solve(self, solver: Solver) -> None:
        """Solve cells, then peaks and cells in turn with the rule's weights, without folds."""
        h = solver._embed()
        solver.solve(0, h)
        settings = solver._deviation_settings()
        weights = settings.weights(len(solver.peaks), solver.learner.n_cells_total)
        settings = replace(settings, weight=weights.deviations)
        parts = solver.learner, solver.data, solver.peaks, h, solver.runtime, settings
        deviated = deviate(*parts)
        said = h if deviated.said is None else deviated.said.of(h)
        found = said + deviated.deviation - h
        self._deviation = found.new_zeros(solver.atlas.n_peaks, h.shape[1])
        self._deviation[torch.from_numpy(solver.peaks)] = found

    def patches(self, mode: str) -> ExitStack:
        """Return what changes the loop while it is entered."""
        stack = ExitStack()
        if mode == "at the end":
            return stack

        def solve(worker: Any) -> None:
            worker._is_whole = False
            self.solve(worker.solver)

        stack.enter_context(patch.object(loop._Worker, "_solve", solve))
        if mode == "loss":
            stack.enter_context(patch.object(Feeder, "_batch", self._remembering(Feeder._batch)))
            stack.enter_context(patch.object(step, "gather_rows", self._adding(step.gather_rows)))
        return stack

    def _remembering(self, batch: Any) -> Any:
        def remembered(feeder: Feeder, peaks: Any, *rest: Any) -> Any:
            self._peaks.append(torch.from_numpy(peaks))
            return batch(feeder, peaks, *rest)

        return remembered

    def _adding(self, gather: Any) -> Any:
        def added(*args: Any) -> Any:
            h, peaks = gather(*args), self._peaks.popleft()
            return h if self._deviation is None else h + self._deviation[peaks]

        return added


def trained(args: argparse.Namespace, mode: str, seed: int) -> str:
    """Return a model's path, after training where it is not there."""
    name = f"{Path(args.data).stem}-{mode.replace(' ', '-')}-{args.epochs}-seed{seed}.zarr"
    settings: dict[str, Any] = {"trunk": TRUNKS["small"], "epochs": args.epochs, "seed": seed}
    if mode != "at the end":
        settings["solve_every"] = 1
    with BetweenEpochs().patches(mode):
        atlasbasset.train(
            args.data, out=str(Path(args.train) / name), config=TrainConfig(**settings)
        )
    return str(Path(args.train) / name)


def main() -> None:
    """Measure and append rows to results/deviations_between.csv."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", help="an atlas")
    parser.add_argument("--label-key", required=True)
    parser.add_argument("--train", metavar="FOLDER", required=True)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--epochs", type=int, default=8)
    args = parser.parse_args()
    data, atlas = read(args.data, args.label_key), Atlas.open(args.data)
    others = np.flatnonzero(atlas.var["split"] != "train")
    held_out = SparseLabels(data.is_open[:, others].T)
    found = defaultdict[tuple[str, str], list[float]](list)
    for mode in MODES:
        for seed in args.seeds:
            model = Trained.of(trained(args, mode, seed), atlas, data.is_open)
            for cells in variants(model, sweep=False):
                if cells.name not in (PLAIN, DEVIATING):
                    continue
                unit = dict(cells.by_metric())["unit"]
                values = predicted(model, cells, held_out)
                values |= measures(unit, data.types, cluster=False)
                print(mode, seed, cells.name, {k: round(v, 3) for k, v in values.items()})
                for key, value in values.items():
                    found[f"{mode} | {cells.name}", key].append(value)
    config = {"data": data.name, "epochs": args.epochs, "seeds": args.seeds, "trunk": "small"}
    harness.append("deviations_between", [
        harness.row("deviations_between", name, key, "1", len(data.types), values,
                    by_seed=[round(value, 4) for value in values], **config)
        for (name, key), values in found.items()
    ])  # fmt: skip


if __name__ == "__main__":
    main()
