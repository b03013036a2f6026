"""Labels of new cells: `transfer_labels` on solved cells, beside the same vote in LSI of both sets.

Cells of six types are drawn from a logistic model on random peaks; types lie `spread` apart. Two
thirds are the reference, one third is new. Novelty is judged by leaving one type after another out
of the reference.

    python benchmarks/label_transfer.py [--spread 0.2 0.15 0.12 0.1] [--seed 11]

Rows go to results/label_transfer.csv; mean and least of the six types left out are in config.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import harness
import numpy as np
import scipy.sparse as sp
import torch
from sklearn.metrics import roc_auc_score

from atlasbasset.core.newton import solve_cells
from atlasbasset.metrics.baselines import lsi, open_sums, unit_rows
from atlasbasset.metrics.label_transfer import transfer_labels

N, P, E, TYPES = 900, 700, 16, 6


class Cells(NamedTuple):
    """Simulated cells."""

    types: np.ndarray
    solved: np.ndarray
    by_lsi: np.ndarray
    reference: np.ndarray
    new: np.ndarray


def simulate(spread: float, seed: int) -> Cells:
    rng = np.random.default_rng(seed)
    h = rng.normal(size=(P, E)).astype(np.float32)
    centres = spread * rng.normal(size=(TYPES, E))
    types = rng.integers(0, TYPES, N)
    w = centres[types] + 0.1 * rng.normal(size=(N, E))
    depth = rng.normal(-3.3, 0.6, N)
    is_open = sp.csr_array(rng.random((N, P)) < 1 / (1 + np.exp(-(w @ h.T + depth[:, None]))))
    basis = torch.from_numpy(h)
    solved = solve_cells(basis, open_sums(is_open.astype(np.float64), basis), l2=10.0)
    order = np.random.default_rng(2).permutation(N)
    return Cells(
        types,
        solved.embedding.float().numpy(),
        unit_rows(lsi(is_open, dim=E)[:, 1:]),
        np.sort(order[: 2 * N // 3]),
        np.sort(order[2 * N // 3 :]),
    )


def measure(cells: Cells, table: np.ndarray) -> tuple[float, float, list[float]]:
    """Return accuracy, mean confidence, and the auROC of novelty for each type left out."""
    names = np.array([f"type{t}" for t in cells.types], dtype=object)
    new, reference = cells.new, cells.reference
    found = transfer_labels(table[reference], names[reference], table[new])
    novelty = []
    for left_out in range(TYPES):
        kept = reference[cells.types[reference] != left_out]
        without = transfer_labels(table[kept], names[kept], table[new]).novelty
        novelty.append(float(roc_auc_score(cells.types[new] == left_out, without)))
    return float((found.label == names[new]).mean()), float(found.confidence.mean()), novelty


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--spread", nargs="+", type=float, default=[0.2, 0.15, 0.12, 0.1])
    parser.add_argument("--seed", type=int, default=11)
    args = parser.parse_args()
    rows = []
    for spread in args.spread:
        cells = simulate(spread, args.seed)
        for name, table in (("solved", cells.solved), ("LSI", cells.by_lsi)):
            accuracy, confidence, novelty = measure(cells, table)
            figures = {"accuracy": [accuracy], "confidence": [confidence], "novelty": novelty}
            rows += [
                harness.row(
                    "label_transfer", f"{name} {key}", key, "1", spread, values,
                    least=round(min(values), 3), mean=round(float(np.mean(values)), 3),
                    seed=args.seed,
                )
                for key, values in figures.items()
            ]  # fmt: skip
    harness.append("label_transfer", rows)


if __name__ == "__main__":
    main()
