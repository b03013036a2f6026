# ---
# jupyter:
#   jupytext: {text_representation: {extension: .py, format_name: percent}}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Your own data
#
# What to do with counts that you have in memory or in files, how to see that they fit the genome,
# and how labels that you find later come back into the model. The data here are simulated in the
# place of yours; the calls are those for real data.

# %%
import os
import tempfile
from pathlib import Path

os.chdir(tempfile.mkdtemp())  # all that this page makes is written here

# %%
import anndata
import numpy as np
import pandas as pd
import scanpy as sc
from scipy.io import mmwrite

import atlasbasset
import atlasstore
from atlasbasset.core.config import TrunkConfig

atlasstore.simulate("yours", n_cells=300, n_peaks=800, n_cell_types=3, density=0.08)
adata = anndata.read_h5ad("yours/counts.h5ad")
adata

# %% [markdown]
# ## Counts in memory
#
# Cells are rows, peaks columns, with `chrom`, `start` and `end` in `var`, or in their names
# (`chr1:100-600`, `chr1-100-600`, `chr1_100_600`). Counts above 0 are open. A plan reads the input
# and writes nothing:

# %%
adata.var_names = [
    f"{c}:{s}-{e}"
    for c, s, e in zip(*adata.var[["chrom", "start", "end"]].T.to_numpy(), strict=True)
]
adata.var = adata.var[[]]
plan = atlasstore.plan_preprocess(adata, genome="yours/genome.fa", out="atlas.zarr")
print(plan)

# %%
plan.run()

# %% [markdown]
# ## Does the genome fit?
#
# Peaks of another assembly make a model that learns nothing. `preprocess` therefore compares the
# peaks' GC and CpG content with that of sequence 10 kb away, and asks whether sequence tells how
# often a peak is open. A warning here is worth more than an hour of training:

# %%
summary = atlasstore.inspect_store("atlas.zarr")
summary

# %% [markdown]
# ## Files
#
# The same function takes what other tools write: `.h5ad`, 10x `.h5` and matrix folders, fragments
# with peaks, folders of BAM files, several samples at once
# ([all inputs](../inputs.md)). Fragments, for instance, are counted in the peaks that you give:

# %%
rng = np.random.default_rng(0)
peaks = pd.read_csv("yours/peaks.bed", sep="\t", header=None).iloc[:, :3]
rows, columns = adata.X.nonzero()
fragments = peaks.iloc[columns].reset_index(drop=True)
fragments["barcode"] = adata.obs_names[rows]
fragments["count"] = 1
fragments[1] += 100  # anywhere inside the peak
fragments[2] = fragments[1] + 150
fragments.sort_values([0, 1]).to_csv("fragments.tsv.gz", sep="\t", header=False, index=False)
atlasbasset.preprocess(
    "fragments.tsv.gz", peaks="yours/peaks.bed", genome="yours/genome.fa", out="from-fragments.zarr"
)

# %% [markdown]
# And a folder as Cell Ranger ATAC writes it (`filtered_peak_bc_matrix`), here made from the same
# counts; its `.h5` is given in the same way:

# %%
folder = Path("filtered_peak_bc_matrix")
folder.mkdir()
mmwrite(folder / "matrix.mtx", adata.X.T.astype(int))
pd.Series(adata.obs_names).to_csv(folder / "barcodes.tsv", header=False, index=False)
peaks.to_csv(folder / "peaks.bed", sep="\t", header=False, index=False)
atlasbasset.preprocess(folder, genome="yours/genome.fa", out="from-10x.zarr")

# %% [markdown]
# ## A model, and labels that come later
#
# Everyone's order: train, embed, cluster, look, name the clusters. `annotate` then stores the names
# in the model, and every later verb can group by them.

# %%
small = TrunkConfig(
    stem_filters=48, tower_filters=(48, 54, 60, 68, 76, 86), prebottleneck_filters=48
)
atlasbasset.train("atlas.zarr", out="model.zarr", config=atlasbasset.TrainConfig(trunk=small))
atlasbasset.embed("model.zarr", out="cells.h5ad")
cells = anndata.read_h5ad("cells.h5ad")
sc.pp.neighbors(cells, use_rep="X_scbasset", metric="cosine")
sc.tl.leiden(cells, flavor="igraph", n_iterations=2, directed=False)
cells.obs["cluster"] = "cluster " + cells.obs["leiden"].astype(str)
atlasbasset.annotate("model.zarr", cells.obs[["cluster"]])

# %%
pd.crosstab(cells.obs["cluster"], adata.obs["cell_type"])

# %% [markdown]
# Mutagenesis of two peaks, by cluster: how each base changes the predicted accessibility.

# %%
atlasbasset.ism(
    "model.zarr",
    atlas="atlas.zarr",
    peaks=list(atlasstore.Atlas.open("atlas.zarr").var.index[:2]),
    span=100,
    group_by="cluster",
    out="ism.zarr",
)
