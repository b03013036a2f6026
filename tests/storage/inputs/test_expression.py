from __future__ import annotations

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from atlasstore.errors import UserInputError
from atlasstore.inputs.expression import open_expression


@pytest.fixture
def adata(rng):
    counts = rng.poisson(1, (6, 4)).astype(np.float32)
    return anndata.AnnData(
        sparse.csr_matrix(counts),
        obs=pd.DataFrame(index=[f"c{i}" for i in range(6)]),
        var=pd.DataFrame(index=["a", "b", "c", "d"]),
        layers={"denoised": counts + 0.5},
        obsm={"X_scVI": rng.normal(size=(6, 3))},
    )


def stored(adata, path):
    if path.suffix == ".zarr":
        with anndata.settings.override(zarr_write_format=3, auto_shard_zarr_v3=False):
            adata.write_zarr(path)
    else:
        adata.write_h5ad(path)
    return path


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
@pytest.mark.filterwarnings("ignore:This setting will be removed:DeprecationWarning")  # 0.13
@pytest.mark.parametrize("kind", ["memory", ".h5ad", ".zarr"])
def test_all_inputs_give_the_same(adata, tmp_path, kind):
    given = adata if kind == "memory" else stored(adata, tmp_path / f"rna{kind}")
    plain = open_expression(given)
    np.testing.assert_array_equal(plain.values().toarray(), adata.X.toarray())
    assert plain.cells.tolist() == adata.obs_names.tolist()
    assert plain.embedding is None
    chosen = open_expression(given, layer="denoised", embedding="X_scVI")
    np.testing.assert_array_equal(chosen.values().toarray(), adata.layers["denoised"])
    np.testing.assert_allclose(chosen.embedding, adata.obsm["X_scVI"], rtol=1e-6)


def test_of_several_types_of_features_genes_are_read(adata, tmp_path):
    adata.var["feature_types"] = ["Gene Expression", "Peaks", "Gene Expression", "Peaks"]
    found = open_expression(stored(adata, tmp_path / "multiome.h5ad"))
    assert found.genes.index.tolist() == ["a", "c"]
    np.testing.assert_array_equal(found.values().toarray(), adata.X.toarray()[:, [0, 2]])


def test_of_a_mudata_the_rna_is_read(adata, tmp_path):
    path = tmp_path / "both.h5mu"
    with h5py.File(path, "w") as file:
        for name, part in (("atac", adata[:, :1]), ("rna", adata)):
            anndata.io.write_elem(file.require_group("mod"), name, part.copy())
    assert open_expression(path).genes.index.tolist() == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("key", "gene", "peak"),
    [("feature_types", "Gene Expression", "Peaks"), ("modality", "rna", "atac")],
)
def test_the_column_that_tells_genes_from_peaks(adata, key, gene, peak):
    adata.var[key] = pd.Categorical([peak, gene, peak, gene])
    adata.var["interval"] = "chr1:1-20"  # Cell Ranger ARC gives genes one as well
    assert open_expression(adata).genes.index.tolist() == ["b", "d"]
    with pytest.raises(UserInputError, match=rf"has no genes, its features are '{peak}' \(var"):
        open_expression(adata[:, [0, 2]].copy())


def test_a_modality_that_tells_nothing_of_genes_is_passed_over(adata):
    adata.var["modality"] = "assay one"
    assert len(open_expression(adata).genes) == 4


PLACES = {"chrom": "chr1", "start": 10, "end": 20}


def test_peaks_are_not_taken_for_genes(adata, tmp_path):
    adata.var = adata.var.assign(**PLACES)
    with pytest.raises(
        UserInputError, match=r"has peaks, not genes \(a, ...\); give the expression"
    ):
        open_expression(adata)
    adata.var = pd.DataFrame(index=["chr1:10-20", "chr1:30-40", "chr2-1-5", "GENE"])
    with pytest.raises(UserInputError, match=r"rna.h5ad has peaks, not genes \(chr1:10-20, ...\)"):
        open_expression(stored(adata, tmp_path / "rna.h5ad"))


@pytest.mark.parametrize(
    "own", [{"gene_ids": "ENSG1"}, {"strand": "+"}, {"feature_types": "Gene Expression"}]
)
def test_genes_may_have_places(adata, own):
    adata.var = adata.var.assign(**PLACES, **own)
    assert len(open_expression(adata).genes) == 4


def test_single_genes_may_be_called_like_places(adata):
    adata.var_names = ["mir-2-1", "mir-3", "b", "c"]
    assert len(open_expression(adata).genes) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": "raw"}, "has no layer 'raw'; it has: denoised"),
        ({"embedding": "X_pca"}, "has no obsm 'X_pca'; it has: X_scVI"),
    ],
)
def test_what_is_not_there(adata, tmp_path, options, message):
    with pytest.raises(UserInputError, match=message):
        open_expression(adata, **options)
    with pytest.raises(UserInputError, match="has no"):
        open_expression(stored(adata, tmp_path / "rna.h5ad"), **options)


def test_bad_input_gets_one_sentence(adata, tmp_path):
    (tmp_path / "rna.h5ad").write_text("no hdf5")
    for url, message in (
        (tmp_path / "rna.h5ad", "rna.h5ad"),
        (tmp_path / "none.h5ad", "none.h5ad"),
        (tmp_path / "rna.csv", r"ends in none of \.h5ad, \.zarr, \.h5mu"),
    ):
        with pytest.raises(UserInputError, match=message):
            open_expression(url)
    adata.var["feature_types"] = "Peaks"
    with pytest.raises(UserInputError, match="no genes, its features are 'Peaks'"):
        open_expression(adata)
    del adata.var["feature_types"]
    adata.X[2, 1] = np.nan
    with pytest.raises(UserInputError, match="NaN or infinite"):
        open_expression(adata).values()
    adata.obs_names = ["x", *adata.obs_names[:2], "x", *adata.obs_names[3:5]]
    with pytest.raises(UserInputError, match="names cell 'x' more than once"):
        open_expression(adata)
