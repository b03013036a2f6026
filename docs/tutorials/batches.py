# ---
# jupyter:
#   jupytext: {text_representation: {extension: .py, format_name: percent}}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Batch effects
#
# Two batches of the same cell types, and an effect at a fifth of the peaks. Without a word about
# batches, cells lie by batch as well as by type; with `batch_key` batches mix, and types stay. What is
# taken for a batch's effect is how its cells differ from others *in the same state*, so that a batch
# with another mix of types keeps its types ([how](../batch-effects.md)).

# %%
import os
import tempfile

os.chdir(tempfile.mkdtemp())  # all that this page makes is written here

# %%
import anndata
import pandas as pd

import atlasbasset
import atlasstore
from atlasbasset.core.config import TrunkConfig

atlasstore.simulate(
    "sim", n_cells=400, n_peaks=1200, n_cell_types=3, density=0.08,
    n_batches=2, batch_shift=0.7, batch_shift_share=0.2, batch_mix=0.3,
)  # fmt: skip
atlasbasset.preprocess("sim/counts.h5ad", genome="sim/genome.fa", out="atlas.zarr")
counts = anndata.read_h5ad("sim/counts.h5ad")
pd.crosstab(counts.obs["batch"], counts.obs["cell_type"])

# %%
small = TrunkConfig(
    stem_filters=48, tower_filters=(48, 54, 60, 68, 76, 86), prebottleneck_filters=48
)
for name, key in (("plain", None), ("corrected", "batch")):
    settings = atlasbasset.TrainConfig(trunk=small, batch_key=key)
    atlasbasset.train("atlas.zarr", out=f"{name}.zarr", config=settings)

# %% [markdown]
# ## What came of it
#
# `iLISI` is near 1 where a cell's neighbours are of one batch and near 2 where both are there as
# often; the kBET acceptance rate is the share of neighbourhoods whose batches are mixed as in the
# whole. Where types differ between batches, perfect mixing is neither possible nor wanted: look at
# the label score beside it.

# %%
found = {
    name: atlasbasset.evaluate(
        f"{name}.zarr", "atlas.zarr", label_key="cell_type", batch_key="batch"
    )
    for name in ("plain", "corrected")
}
found["corrected"]

# %%
pd.DataFrame(
    {
        name: {
            "label score, k = 50": one.labels.mean[50],
            "iLISI, median": one.ilisi.median,
            "kBET acceptance": one.kbet.acceptance,
        }
        for name, one in found.items()
    }
)

# %% [markdown]
# Beside one another, in the plane:

# %%
import scanpy as sc

for name in found:
    atlasbasset.embed(f"{name}.zarr", out=f"{name}.h5ad")
    cells = anndata.read_h5ad(f"{name}.h5ad")
    sc.pp.neighbors(cells, use_rep="X_scbasset", metric="cosine")
    sc.tl.umap(cells)
    sc.pl.umap(cells, color=["cell_type", "batch"], title=[f"{name}: type", f"{name}: batch"])
