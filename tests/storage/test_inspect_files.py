from __future__ import annotations

import json

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from atlasstore.errors import CountsError, NotAStoreError, UserInputError
from atlasstore.inspect_store import inspect_store
from atlasstore.results.writer import write_anndata

MEME = """MEME version 4

ALPHABET= ACGT

MOTIF MA0001.1 MA0001.1.GATA1
letter-probability matrix: alength= 4 w= 4
1 0 0 0
0 1 0 0
0 0 1 0
0.25 0.25 0.25 0.25
"""


def cells() -> anndata.AnnData:
    made = anndata.AnnData(
        sparse.csr_matrix(np.eye(3, 4, dtype=np.float32)),
        obs=pd.DataFrame({"kind": list("aba")}, index=list("xyz")),
        var=pd.DataFrame({"start": range(4)}, index=list("pqrs")),
        obsm={"X_umap": np.zeros((3, 2)), "tf": pd.DataFrame({"A": 0.0}, index=list("xyz"))},
        layers={"more": np.zeros((3, 4))},
    )
    made.uns["scbasset"] = {"provenance": json.dumps({"seed": 3, "config": {"model": "m"}})}
    return made


@pytest.mark.parametrize("name", ["cells.h5ad", "cells.zarr", "memory"])
def test_an_anndata_by_its_outlines(tmp_path, name):
    url = "memory://test_inspect/cells.zarr" if name == "memory" else str(tmp_path / name)
    if name.endswith("h5ad"):
        cells().write_h5ad(url)
    else:
        write_anndata(cells(), url)
    found = inspect_store(url)
    assert (found.format, found.version, found.verified) == ("AnnData", None, False)
    assert dict(found.sizes) == {
        "n_obs": 3,
        "n_vars": 4,
        "X": "csr_matrix float32, 3 stored",
        "obs_columns": ["kind"],
        "var_columns": ["start"],
        "obs_names": ["x", "y"],
        "var_names": ["p", "q"],
        "obsm": {"X_umap": 2, "tf": 1},
        "layers": ["more"],
    }
    assert found.provenance == {"seed": 3, "config": {"model": "m"}}
    assert found.stored_bytes > 100
    json.dumps(found.as_json())
    with pytest.raises(UserInputError, match="has no checksums to verify"):
        inspect_store(url, verify=True)


def test_of_others_without_x_or_provenance(tmp_path):
    bare = anndata.AnnData(obs=pd.DataFrame(index=list("ab")))
    bare.write_h5ad(tmp_path / "bare.h5ad")
    found = inspect_store(tmp_path / "bare.h5ad")
    assert (found.sizes["n_obs"], found.sizes["n_vars"], found.sizes["X"]) == (2, 0, None)
    assert found.provenance == {}


def test_motifs_tables_json_pages_hdf5_and_folders(tmp_path):
    (tmp_path / "a.meme").write_text(MEME)
    (tmp_path / "a.csv").write_text("region,p\nr1,0.1\nr2,0.2\n")
    pd.DataFrame({"x": [1, 2, 3]}).to_parquet(tmp_path / "a.parquet")
    (tmp_path / "a.json").write_text(json.dumps({"split": "test", "prediction": {}}))
    (tmp_path / "a.html").write_text("<html><title>Worm</title>")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["layer/kernel"] = np.zeros((2, 3))
    files = ["a.csv", "a.h5", "a.html", "a.json", "a.meme", "a.parquet"]
    wanted = {
        "a.meme": ("MEME motifs", {"n_motifs": 1, "width_bp": "4 to 4", "tfs": ["GATA1"]}),
        "a.csv": ("table", {"n_rows": 2, "columns": ["region", "p"]}),
        "a.parquet": ("table (parquet)", {"n_rows": 3, "columns": ["x"]}),
        "a.json": ("JSON", {"keys": ["split", "prediction"], "split": "test"}),
        "a.html": ("HTML page", {"title": "Worm"}),
        "a.h5": ("HDF5", {"n_arrays": 1, "arrays": {"layer/kernel": "2 x 3"}}),
        "": ("folder", {"n_files": 6, "files": files}),
    }
    for name, (kind, sizes) in wanted.items():
        found = inspect_store(tmp_path / name)
        assert (found.format, dict(found.sizes)) == (kind, sizes)


def test_what_is_unknown_or_damaged_is_told(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    (tmp_path / "a.h5ad").write_bytes(b"no HDF5")
    (tmp_path / "a.json").write_text("{")
    for name, error, said in (
        (
            "a.png",
            NotAStoreError,
            "ends in none of .h5ad, .* what is described are atlases, models",
        ),
        ("a.h5ad", CountsError, "truncated or not an HDF5 file"),
        ("a.json", CountsError, "JSON that cannot be read"),
        ("absent.h5ad", NotAStoreError, "absent.h5ad"),
    ):
        with pytest.raises(error, match=said):
            inspect_store(tmp_path / name)
