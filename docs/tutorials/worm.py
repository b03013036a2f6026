# ---
# jupyter:
#   jupytext: {text_representation: {extension: .py, format_name: percent}}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Real cells: *C. elegans*
#
# From the counts of 1,017 pseudo-cells of two sorted tissues (germline and neurons, Serizay *et al.*
# 2020) to a report: an atlas of 3,512 peaks, a chromosome held out, a short training, what tells the
# tissues apart. The data are not part of the package. `ATLASBASSET_TEST_DATA` names their folder,
# in which `worm/` has `worm.h5ad` and `ce10.fa.gz`, and `motifs/` a MEME file of nematodes
# ([where they come from](../worm.md)). Without them every step below says that it was skipped.

# %%
import os
import tempfile
from pathlib import Path

import anndata

import atlasbasset
import atlasstore

named = os.environ.get("ATLASBASSET_TEST_DATA", "")
data = Path(named).absolute()
os.chdir(tempfile.mkdtemp())  # all that this page makes is written here
wanted = ("worm/worm.h5ad", "worm/ce10.fa.gz", "motifs/JASPAR2022_nematodes.meme")
absent = [name for name in wanted if not (data / name).is_file()] if named else list(wanted)
is_here = not absent
if not is_here:
    print(f"Skipped: {', '.join(absent)} absent; name their folder by ATLASBASSET_TEST_DATA.")

# %% [markdown]
# ## An atlas
#
# Chromosome III is held out: its peaks are predicted from sequence alone, and no base of them is
# seen in training.

# %%
if is_here:
    made = atlasstore.preprocess(
        data / "worm/worm.h5ad",
        genome=data / "worm/ce10.fa.gz",
        out="worm.zarr",
        holdout=["chrIII"],
    )
    print(f"{made.n_cells:,} cells x {made.n_peaks:,} peaks: {made.splits}")

# %% [markdown]
# ## A short training
#
# Two epochs by the fast recipe: enough to see that it learns, not what it can reach
# ([figures of longer trainings](../worm.md)).

# %%
if is_here:
    config = atlasbasset.TrainConfig.recipe("fast", epochs=2, batch_size=32)
    trained = atlasbasset.train("worm.zarr", out="worm-model.zarr", config=config)
    print(trained.history[-1])

# %%
if is_here:
    evaluation = atlasbasset.evaluate("worm-model.zarr", "worm.zarr", label_key="tissue")
    quality = evaluation.prediction
    print(f"auROC on chromosome III: {quality.mean_auroc_per_cell:.3f} per cell, ", end="")
    print(f"{quality.mean_auroc_per_peak:.3f} per peak; label score {evaluation.labels.mean}")

# %% [markdown]
# ## Which TFs tell germline from neurons?
#
# Each motif is put into shuffled peaks; what it adds in the mean neuron less what it adds in the mean
# germline cell is its difference, on the scale of log-odds.

# %%
if is_here:
    atlasbasset.motif_activity(
        "worm-model.zarr",
        "worm.zarr",
        motifs=data / "motifs/JASPAR2022_nematodes.meme",
        out="activity.zarr",
        n_backgrounds=50,
    )
    found = anndata.read_zarr("activity.zarr")
    raw = found.obsm["X_scbasset"] @ found.varm["scbasset_sequence"].T
    is_neuron = (found.obs["tissue"] == "Neurons").to_numpy()
    difference = raw[is_neuron].mean(0) - raw[~is_neuron].mean(0)
    order = difference.argsort()
    print("neurons:", ", ".join(found.var_names[order[::-1][:8]]))
    print("germline:", ", ".join(found.var_names[order[:8]]))

# %% [markdown]
# ## Along the genome, and on one page
#
# Tracks of both tissues, and the report with everything; `worm.html` opens in a browser.

# %%
if is_here:
    atlasbasset.tracks("worm-model.zarr", "worm.zarr", group_by="tissue", out="tracks")
    page = atlasbasset.report(
        "worm-model.zarr",
        "worm.zarr",
        "activity.zarr",
        "tracks",
        out="worm.html",
        label_key="tissue",
    )
    print(page)
