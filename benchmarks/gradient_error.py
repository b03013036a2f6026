"""How far bfloat16's weight gradients are from float32's: a trained trunk's, or a random one's.

The loss of 128 training peaks of an atlas; without a model, cells are drawn too. Run it again with
ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16 to see what AMX does to them.

    python benchmarks/gradient_error.py sim.zarr [--model model.zarr]
"""

from __future__ import annotations

import argparse

import harness
import numpy as np
import torch
import torch.nn.functional as F

from atlasbasset import load_model
from atlasbasset.core.augment import one_hot_input
from atlasbasset.core.config import TrunkConfig
from atlasbasset.core.trunk import Trunk
from atlasstore import Atlas

N_PEAKS = 128


def learner(url: str | None, n_cells: int) -> tuple[Trunk, torch.Tensor, torch.Tensor]:
    """Return a trunk, cells (N, E) and intercepts (N,)."""
    if url is None:
        generator = torch.Generator().manual_seed(0)
        w = torch.randn(n_cells, 32, generator=generator)
        return Trunk.initialised(TrunkConfig(), seed=0), w, torch.zeros(n_cells)
    model = load_model(url, compute="fp32")
    return model.trunk, *(torch.tensor(v) for v in (model.cell_embedding, model.intercept))


def main() -> None:
    """Measure and append rows to results/gradient_error.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="an atlas")
    parser.add_argument("--model", help="of the atlas's cells")
    args = parser.parse_args()
    atlas = Atlas.open(args.data)
    rows = np.flatnonzero(atlas.var["split"] == "train")[:N_PEAKS]
    labels = torch.from_numpy(atlas.to_anndata().X[:, rows].toarray().T.astype(np.float32))
    trunk, w, intercept = learner(args.model, labels.shape[1])
    window = trunk.config.window_bp
    codes = np.concatenate([atlas.sequence_codes(row, row + 1) for row in rows])
    flank = (codes.shape[1] - window) // 2
    codes_BL = torch.from_numpy(codes[:, flank : flank + window].copy())
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        trunk.train().requires_grad_(requires_grad=True).zero_grad()
        h = trunk(one_hot_input(codes_BL, dtype), compute_dtype=dtype)
        F.binary_cross_entropy_with_logits(h.float() @ w.T + intercept, labels).backward()
        found[dtype] = {
            name: parameter.grad.clone()
            for name, parameter in trunk.named_parameters()
            if name.endswith("weight") and parameter.grad is not None
        }
    config = {"start": "random" if args.model is None else "trained", **harness.limits()}
    csv = []
    for name, exact in found[torch.float32].items():
        ours = found[torch.bfloat16][name]
        error = float((ours - exact).norm() / exact.norm())
        cosine = float(F.cosine_similarity(ours.flatten(), exact.flatten(), dim=0))
        length = float(ours.norm() / exact.norm())
        for metric, value in (("error", error), ("cosine", cosine), ("length", length)):
            csv.append(harness.row("gradient_error", name, metric, "1", N_PEAKS, [value], **config))
    harness.append("gradient_error", csv)


if __name__ == "__main__":
    main()
