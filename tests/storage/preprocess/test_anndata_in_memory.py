"""An AnnData in memory where a file is expected."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import anndata
import pandas as pd
import pytest
from scipy import sparse

import atlasstore
from atlasstore.errors import CountsError, UserInputError
from atlasstore.events import ignore
from atlasstore.files import urls
from small_atlas import FEW_BLOCKS, make_peaks, random_chromosomes, write_fasta

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

HOW = {
    "window_bp": 192, "min_cell_fraction": 0.0, "min_blocks": FEW_BLOCKS, "on_event": ignore
}  # fmt: skip


@pytest.fixture
def adata(rng: np.random.Generator) -> anndata.AnnData:
    names = [f"c{i}" for i in range(40)]
    return anndata.AnnData(
        sparse.csr_array(rng.poisson(0.4, (40, 20))),
        obs=pd.DataFrame({"kind": ["a", "b"] * 20}, index=names),
        var=make_peaks(20)[["chrom", "start", "end"]],
    )


@pytest.fixture
def genome(tmp_path: Path, rng: np.random.Generator) -> Path:
    return write_fasta(
        tmp_path / "genome.fa", random_chromosomes(rng, {"chrI": 10_400, "chrII": 10_400})
    )


def test_it_makes_the_atlas_that_its_file_makes(
    adata: anndata.AnnData, genome: Path, tmp_path: Path
) -> None:
    adata.write_h5ad(tmp_path / "adata.h5ad")
    for source, out in ((tmp_path / "adata.h5ad", "from_file"), (adata, "from_memory")):
        atlasstore.preprocess(source, genome=genome, out=tmp_path / out, **HOW)
    ours, theirs = (atlasstore.Atlas.open(tmp_path / n) for n in ("from_memory", "from_file"))
    assert ours.obs.equals(theirs.obs)
    assert set(ours.obs["sample"]) == {"adata"}
    assert (ours.to_anndata().X != theirs.to_anndata().X).nnz == 0
    given = ours.provenance["inputs"][0]
    assert given["url"].startswith("memory://AnnData-in-memory/")
    assert len(given["sha256"]) == 64


def test_what_is_held_of_it_goes_with_the_plan(
    adata: anndata.AnnData, genome: Path, tmp_path: Path
) -> None:
    plan = atlasstore.plan_preprocess(adata, genome=genome, out=tmp_path / "a", window_bp=192)
    same = atlasstore.plan_preprocess(adata, genome=genome, out=tmp_path / "b", window_bp=192)
    held = plan.settings.files[0]
    assert held == same.settings.files[0]
    assert plan.as_json()["n_cells_in"] == 40
    assert "memory" in dict(plan.lines())
    assert not (tmp_path / "a").exists()
    del plan
    gc.collect()
    assert urls.exists(held)
    assert same.run(on_event=ignore).n_cells_in == 40
    del same
    gc.collect()
    assert not urls.exists(held)


def test_it_is_added_to_an_atlas(adata: anndata.AnnData, genome: Path, tmp_path: Path) -> None:
    atlasstore.preprocess(adata[:30], genome=genome, out=tmp_path / "a", **HOW)
    more = adata[30:].copy()
    report = atlasstore.append(more, atlas=tmp_path / "a", samples="more", on_event=ignore)
    assert report.n_cells_in == 10


def test_what_cannot_be_used(adata: anndata.AnnData, genome: Path, tmp_path: Path) -> None:
    empty = anndata.AnnData(obs=adata.obs, var=adata.var)
    for source, more, error, said in (
        (empty, {}, CountsError, "has no X; put raw counts"),
        (adata, {"dask": "tcp://nowhere:1"}, UserInputError, "workers cannot reach it"),
    ):
        with pytest.raises(error, match=said):
            atlasstore.preprocess(source, genome=genome, out=tmp_path / "a", **HOW, **more)
    assert not (tmp_path / "a").exists()
