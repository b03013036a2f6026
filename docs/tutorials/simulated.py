# ---
# jupyter:
#   jupytext: {text_representation: {extension: .py, format_name: percent}}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # A simulated atlas, from counts to motifs
#
# Cells of known types, whose peaks are open because of motifs that were planted in their DNA: from
# counts and a genome to cell embeddings, clusters and TF activity, and each compared with the truth.
# The network here has a third of the published width, so that this page is made in two minutes on
# two cores; leave out `trunk=` for the published one.

# %%
import os
import tempfile

os.chdir(tempfile.mkdtemp())  # all that this page makes is written here

# %%
import anndata
import matplotlib.pyplot as plt
import numpy as np
import scanpy as sc

import atlasbasset
import atlasstore
from atlasbasset.core.config import TrunkConfig
from atlasstore.simulation.truth import Truth

atlasstore.simulate("sim", n_cells=500, n_peaks=3000, n_cell_types=4, n_motifs=8, density=0.06)

# %% [markdown]
# The folder has what a laboratory has: counts with peaks as variables, and a genome.

# %%
counts = anndata.read_h5ad("sim/counts.h5ad")
counts

# %% [markdown]
# ## An atlas
#
# `preprocess` reads the counts once, cuts the 1,344 bp around each peak out of the genome, splits
# peaks into training, validation and test, and says whether the peaks look like peaks of this
# genome.

# %%
report = atlasbasset.preprocess("sim/counts.h5ad", genome="sim/genome.fa", out="atlas.zarr")
report

# %% [markdown]
# ## Training
#
# A plan first: what would be read, written and held in memory. Then the run itself. If it is
# interrupted, the same call resumes it.

# %%
settings = atlasbasset.TrainConfig(
    trunk=TrunkConfig(
        stem_filters=96,
        tower_filters=(96, 108, 121, 136, 152, 171),
        prebottleneck_filters=96,
    )
)
plan = atlasbasset.plan_train("atlas.zarr", out="model.zarr", config=settings)
print(plan)

# %%
atlasbasset.train("atlas.zarr", out="model.zarr", config=settings)

# %% [markdown]
# ## Cells
#
# `embed` writes an AnnData, which scanpy takes from there. Cosine distances suit these embeddings.

# %%
atlasbasset.embed("model.zarr", out="cells.h5ad")
cells = anndata.read_h5ad("cells.h5ad")
sc.pp.neighbors(cells, use_rep="X_scbasset", metric="cosine")
sc.tl.umap(cells)
sc.tl.leiden(cells, flavor="igraph", n_iterations=2, directed=False)
sc.pl.umap(cells, color=["cell_type", "leiden", "depth"], ncols=3)

# %% [markdown]
# How well cells of a type lie together, and how well the peaks that training never saw are
# predicted, beside embeddings that need no sequence:

# %%
evaluation = atlasbasset.evaluate("model.zarr", "atlas.zarr", label_key="cell_type", baselines=True)
evaluation

# %% [markdown]
# ## TF activity
#
# Each motif is inserted into background sequences; what that does to a cell's predicted
# accessibility is the TF's activity in it.

# %%
atlasbasset.motif_activity(
    "model.zarr", "atlas.zarr", motifs="sim/motifs.meme", n_backgrounds=100, out="activity.zarr"
)
activity = anndata.read_zarr("activity.zarr")
activity

# %% [markdown]
# Scores are standardised over cells; `var["sd"]` is what one standard deviation is on the model's
# scale (log odds), so that their product tells motifs that matter from those that do not. By type,
# beside the effects with which the counts were drawn:

# %%
truth = Truth.load("sim")
activity.var_names = activity.var["tf"]
effects = activity.to_df() * activity.var["sd"]
found = effects.groupby(activity.obs["cell_type"], observed=True).mean()
found = found.loc[truth.cell_types, truth.motifs].to_numpy()
planted = truth.activities - truth.activities.mean(0)
figure, axes = plt.subplots(1, 2, figsize=(7, 2.4), layout="constrained")
for axis, table, title in zip(axes, (planted, found), ("planted", "found"), strict=True):
    limit = np.abs(table).max()
    axis.imshow(table, cmap="RdBu_r", vmin=-limit, vmax=limit)
    axis.set_xticks(range(len(truth.motifs)), truth.motifs, rotation=90)
    axis.set_yticks(range(len(truth.cell_types)), truth.cell_types)
    axis.set_title(f"{title}, against the mean of the types")

# %%
pearson = np.corrcoef(planted.ravel(), (found - found.mean(0)).ravel())[0, 1]
print(f"Pearson {pearson:.2f}")
assert pearson > 0.6
