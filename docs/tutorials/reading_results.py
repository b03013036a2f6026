# ---
# jupyter:
#   jupytext: {text_representation: {extension: .py, format_name: percent}}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Reading results without atlasbasset
#
# A result is an AnnData in zarr, at a path or URL. Whoever has the URL needs anndata alone: no
# torch, no download of what is not looked at. First a result to read, as a colleague would make it:

# %%
import os
import tempfile

os.chdir(tempfile.mkdtemp())  # all that this page makes is written here

# %%
import atlasbasset
import atlasstore
from atlasbasset.core.config import TrunkConfig

atlasstore.simulate("sim", n_cells=300, n_peaks=800, n_cell_types=3, density=0.08)
atlasbasset.preprocess("sim/counts.h5ad", genome="sim/genome.fa", out="atlas.zarr")
small = TrunkConfig(
    stem_filters=48, tower_filters=(48, 54, 60, 68, 76, 86), prebottleneck_filters=48
)
atlasbasset.train("atlas.zarr", out="model.zarr", config=atlasbasset.TrainConfig(trunk=small))
atlasbasset.denoise("model.zarr", "atlas.zarr", out="denoised.zarr")
atlasbasset.denoise("model.zarr", "atlas.zarr", out="table.zarr", dtype="float32")

# %% [markdown]
# ## With a web server in between
#
# Any server that answers range requests will do, as nginx and buckets do (Python's own `http.server`
# does not); `s3://...` works the same way, with `s3fs`.

# %%
import subprocess
import sys
import time

serve = """
from aiohttp import web
app = web.Application()
app.add_routes([web.static("/", ".")])
web.run_app(app, host="127.0.0.1", port=8731, print=None)
"""
server = subprocess.Popen([sys.executable, "-c", serve])
time.sleep(5)
url = "http://127.0.0.1:8731/table.zarr"

# %% [markdown]
# ## Lazily, with anndata
#
# Tables of cells and peaks are read; the matrix stays where it is until a part of it is computed.

# %%
import anndata
import zarr

remote = anndata.experimental.read_lazy(zarr.open_group(url, mode="r"))
remote

# %%
part = remote[:5, :3].X.compute()
part

# %% [markdown]
# ## Factors instead of a table
#
# By default `denoise` stores factors, not the table: cells x 32 and peaks x 32 numbers, which at a
# million cells are 0.1 GB in the place of 470. Their product is the table, on the model's scale:

# %%
import numpy as np

factors = anndata.read_zarr("denoised.zarr")
product = factors.obsm["X_scbasset"] @ factors.varm["scbasset_sequence"].T
table = anndata.read_zarr("table.zarr").X
np.abs(product - table).max()

# %%
assert np.allclose(product, table, atol=1e-3)
assert np.array_equal(part, table[:5, :3])
server.terminate()

# %% [markdown]
# What was run, on what, with which versions, is in `uns`:

# %%
factors.uns["scbasset"].keys()
