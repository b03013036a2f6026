"""Real multiome cells: accessibility at three genes' starts against their own RNA.

There is no genome with these cells, so the model's sequences are random and only what was observed,
and cell embeddings computed from it, are real.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.stats import pearsonr

import atlasbasset
from atlasbasset.metrics.baselines import pca
from atlasbasset.metrics.expression import log_normalised
from atlasbasset.metrics.rna_agreement import rna_agreement
from atlasstore.genome.genes import genes_with_peaks, read_genes
from small_atlas import make_atlas
from small_model import TINY, random_weights, write_model

pytestmark = pytest.mark.real
N = 2_000
STARTS = {"CCR7": ("chr17", 40565472), "HLA-DQB1": ("chr6", 32666657), "ZEB2": ("chr2", 144520119)}
"""hg38; all on the - strand."""


class Cells(NamedTuple):
    """Cells and genes."""

    is_open: np.ndarray
    """(N, P)"""
    peaks: pd.DataFrame
    rna: anndata.AnnData
    """log1p of expression, three genes."""
    gtf: str


@pytest.fixture(scope="module")
def cells(real_data, tmp_path_factory) -> Cells:
    path = real_data / "labelled" / "pbmc_multiome_3loci.h5ad"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    whole = anndata.read_h5ad(path)
    found = whole[np.sort(np.random.default_rng(0).choice(whole.n_obs, N, replace=False))]
    expression = np.log1p(found.obsm["rna"])
    names = pd.DataFrame(index=[f"cell{i}" for i in range(N)])
    rna = anndata.AnnData(
        expression.to_numpy(np.float32), names, pd.DataFrame(index=expression.columns)
    )
    gtf = tmp_path_factory.mktemp("genes") / "genes.gtf"
    lines = [
        f'{chrom}\thg38\tgene\t{tss - 999}\t{tss + 1}\t.\t-\t.\tgene_id "{name}";'
        for name, (chrom, tss) in STARTS.items()
    ]
    gtf.write_text("\n".join(lines) + "\n")
    peaks = found.var[["chrom", "start", "end"]]
    return Cells(found.X.toarray() > 0, peaks, rna[:, list(STARTS)].copy(), str(gtf))


def means(cells: Cells) -> np.ndarray:
    """Weights of the mean over each gene's peaks, (P, 3)."""
    genes, weights = genes_with_peaks(read_genes(cells.gtf), cells.peaks)
    assert genes.index.tolist() == list(STARTS)
    assert (genes.n_peaks >= 8).all()
    return weights.toarray().T


def per_gene(accessibility: np.ndarray, cells: Cells) -> np.ndarray:
    columns = zip(accessibility.T, cells.rna.X.astype(float).T, strict=True)
    return np.array([pearsonr(x, y)[0] for x, y in columns])


def test_evaluate_against_rna(cells, tmp_path):
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 4, (cells.is_open.shape[1], TINY.window_bp + 6), dtype=np.uint8)
    atlas = make_atlas(tmp_path / "atlas", cells.is_open, codes, peaks=cells.peaks)
    embedding = pca(sparse.csr_array(cells.is_open), dim=5)
    weights = replace(random_weights(rng, N), embedding=embedding)
    model = write_model(tmp_path / "model", weights)
    found = atlasbasset.evaluate(model, atlas, rna=cells.rna, genes=cells.gtf, ks=(50,)).rna
    assert found.values == "as given"
    expected = per_gene(cells.is_open @ means(cells), cells)
    np.testing.assert_allclose(found.observed.agreement.per_gene, expected, atol=1e-6)
    assert (expected > 0.1).all()
    assert found.neighbors.mean[50] > 1.5 * 50 / (N - 1)
    assert found.denoised.co_embedding is None


def test_denoising_brings_accessibility_closer_to_rna(cells):
    """The cells' 20 principal components, in the place of a model."""
    is_open = cells.is_open.astype(float)
    scores = pca(sparse.csr_array(is_open), dim=20).astype(float)
    loadings, *_ = np.linalg.lstsq(scores, is_open - is_open.mean(0), rcond=None)
    denoised = scores @ loadings @ means(cells)
    expression = log_normalised(sparse.csr_array(cells.rna.X)).toarray()
    found = rna_agreement(denoised.__getitem__, expression.__getitem__, n_cells=N, n_genes=3)
    np.testing.assert_allclose(found.per_gene, per_gene(denoised, cells), atol=1e-9)
    observed = per_gene(is_open @ means(cells), cells)
    assert (found.per_gene > observed + 0.1).all()
