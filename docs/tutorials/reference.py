# ---
# jupyter:
#   jupytext: {text_representation: {extension: .py, format_name: percent}}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # New cells on a reference
#
# A model was trained on labelled cells; new cells, counted on the same peaks or on others, are placed
# in its coordinates without training, and get labels with a confidence, and a novelty for cells of
# a type that the reference lacks ([map](../map.md)). Here one type is left out of the reference.

# %%
import os
import tempfile

os.chdir(tempfile.mkdtemp())  # all that this page makes is written here

# %%
import anndata
import numpy as np
import pandas as pd

import atlasbasset
import atlasstore
from atlasbasset.core.config import TrunkConfig

atlasstore.simulate("sim", n_cells=700, n_peaks=1200, n_cell_types=4, density=0.08)
counts = anndata.read_h5ad("sim/counts.h5ad")
is_reference = (np.arange(counts.n_obs) % 7 < 4) & (counts.obs["cell_type"] != "type4").to_numpy()
reference, new = counts[is_reference].copy(), counts[~is_reference].copy()
for name, cells in (("reference", reference), ("new", new)):
    atlasbasset.preprocess(cells, genome="sim/genome.fa", out=f"{name}.zarr", min_cell_fraction=0)

# %%
small = TrunkConfig(
    stem_filters=48, tower_filters=(48, 54, 60, 68, 76, 86), prebottleneck_filters=48
)
atlasbasset.train("reference.zarr", out="model.zarr", config=atlasbasset.TrainConfig(trunk=small))
report = atlasbasset.map_cells("model.zarr", "new.zarr", out="mapped.zarr", label_key="cell_type")
report

# %% [markdown]
# ## Labels, and how sure they are

# %%
atlasbasset.embed("mapped.zarr", out="mapped.h5ad")
mapped = anndata.read_h5ad("mapped.h5ad")
pd.crosstab(mapped.obs["cell_type"], mapped.obs["mapped_cell_type"])

# %%
mapped.obs.groupby("cell_type", observed=True)[
    ["mapped_cell_type_confidence", "mapped_cell_type_novelty"]
].mean()

# %% [markdown]
# Cells of `type4` get some label, as every cell does; their novelty tells them from the others:

# %%
from sklearn.metrics import roc_auc_score

is_new = mapped.obs["cell_type"] == "type4"
right = (mapped.obs["mapped_cell_type"].astype(str) == mapped.obs["cell_type"].astype(str))[~is_new]
auroc = roc_auc_score(is_new, mapped.obs["mapped_cell_type_novelty"])
print(f"right {right.mean():.3f}, auROC of novelty {auroc:.3f}")
assert right.mean() > 0.9
assert auroc > 0.8
