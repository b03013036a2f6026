"""A model's results on the AnnData at hand (``atlasbasset.tl``), as scanpy's tools write theirs.

Each function runs the verb of the same name for the cells of `adata`, found in the model by name,
and writes what it finds into `adata`. Where it came from is in ``adata.uns["scbasset"]``. For
results larger than memory call the verb itself, which writes a store.
"""

from atlasbasset.tl._denoise import denoise
from atlasbasset.tl._embed import embed
from atlasbasset.tl._map_labels import map_labels
from atlasbasset.tl._motif_activity import motif_activity

__all__ = ["denoise", "embed", "map_labels", "motif_activity"]
