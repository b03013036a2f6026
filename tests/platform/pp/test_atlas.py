from __future__ import annotations

import numpy as np
import pytest

import atlasbasset
from atlasstore.errors import GenomeError
from atlasstore.events import ignore
from small_counts import make_counts


def test_an_atlas_of_what_is_in_memory(tmp_path):
    made = make_counts(tmp_path)
    options = {"window_bp": 192, "min_cell_fraction": 0.4, "on_event": ignore}
    atlas = atlasbasset.pp.make_atlas(made.adata, made.genome, tmp_path / "other", **options)
    counts = made.adata.X.toarray() > 0
    kept = counts.mean(0) >= 0.4
    assert 0 < kept.sum() < len(kept)
    np.testing.assert_array_equal(atlas.to_anndata().X.toarray(), counts[:, kept])
    assert list(atlas.obs["kind"]) == list(made.adata.obs["kind"])
    assert atlas.window_bp == 192
    with pytest.raises(GenomeError):
        atlasbasset.pp.make_atlas(made.adata, tmp_path / "no.fa", tmp_path / "third")
    assert not (tmp_path / "third").exists()
