"""RNA beside an atlas: every figure against plain numpy, scipy and scikit-learn in float64."""

from __future__ import annotations

import json

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist, pdist, squareform
from scipy.stats import pearsonr
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score

import atlasbasset
from atlasjobs.reports.evaluate import evaluation_facts
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import UserInputError
from atlasstore.events import Notice
from small_atlas import make_atlas, random_labels
from small_model import TINY, random_weights, write_model

N, P, L = 60, 80, TINY.window_bp
KS = (3, 7)


@pytest.fixture(scope="module")
def labels():
    return random_labels(np.random.default_rng(3), N, P, 0.4)


@pytest.fixture(scope="module")
def atlas(tmp_path_factory, labels):
    codes = np.random.default_rng(5).integers(0, 4, (P, L + 6), dtype=np.uint8)
    opened = Atlas.open(make_atlas(tmp_path_factory.mktemp("stores") / "atlas", labels, codes))
    opened.obs = opened.obs.assign(kind=[*"abc"] * (N // 3))
    return opened


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    weights = random_weights(np.random.default_rng(4), N)
    url = write_model(tmp_path_factory.mktemp("stores") / "model", weights)
    return atlasbasset.load_model(url, device="cpu")


@pytest.fixture(scope="module")
def gtf(atlas, tmp_path_factory):
    """30 genes; each begins within one peak, and reaches others, 500 bp apart."""
    lines = []
    for i, peak in enumerate(atlas.var.iloc[: 2 * 30 : 2].itertuples()):
        place = f"{peak.chrom}\tmade\tgene\t{peak.start + 1}\t{peak.start + 900}\t.\t+\t."
        lines.append(f'{place}\tgene_id "ENSG{i:05}.3"; gene_name "G{i}";')
    path = tmp_path_factory.mktemp("genes") / "genes.gtf"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def rna():
    """Counts of 35 genes, five of them in no annotation, of 58 of the cells and 3 others."""
    rng = np.random.default_rng(8)
    counts = rng.poisson(rng.gamma(2, 1, (1, 35)), (61, 35)).astype(np.float32)
    names = [f"cell{i}" for i in rng.permutation(N)[:58]] + ["other0", "other1", "other2"]
    genes = [f"G{i}" for i in range(29, -1, -1)] + [f"unknown{i}" for i in range(5)]
    return anndata.AnnData(counts, pd.DataFrame(index=names), pd.DataFrame(index=genes))


@pytest.fixture(scope="module")
def found(model, atlas, rna, gtf):
    return atlasbasset.evaluate(
        model, atlas, rna=rna, genes=gtf, denoised=True, label_key="kind", ks=KS, split="all"
    )


def paired(atlas, rna):
    """Return the model's rows with RNA, and their log-normalised expression, all genes."""
    rows = [i for i in range(N) if f"cell{i}" in rna.obs_names]
    counts = rna[[f"cell{i}" for i in rows]].X.astype(float)
    return np.array(rows), np.log1p(counts / counts.sum(1, keepdims=True) * 1e4)


def peaks_of_genes(atlas):
    """Peaks with a base within 2 kb of each gene's first base."""
    var = atlas.var.reset_index(drop=True)
    tss = var.iloc[: 2 * 30 : 2]
    return [
        np.flatnonzero(
            (var.chrom == gene.chrom)
            & (var.start <= gene.start + 2000)
            & (var.end > gene.start - 2000)
        )
        for gene in tss.itertuples()
    ]


def profiles(model, atlas):
    codes = atlas.sequence_codes(0, P)[:, 3:-3]
    return model.cell_embedding.astype(float) @ model.embed(codes).astype(float).T


def neighbors(table, k):
    distances = cdist(table, table)
    np.fill_diagonal(distances, np.inf)
    return [set(row) for row in np.argsort(distances, axis=1)[:, :k]]


def shared(a, b, k):
    pairs = zip(neighbors(a, k), neighbors(b, k), strict=True)
    return np.mean([len(x & y) / k for x, y in pairs])


def correlations(x, y):
    rows = [pearsonr(a, b)[0] for a, b in zip(x, y, strict=True)]
    columns = [pearsonr(a, b)[0] for a, b in zip(x.T, y.T, strict=True)]
    return np.array(rows), np.array(columns)


def test_neighbor_score_is_with_components_of_the_rna(found, model, atlas, rna):
    rows, expression = paired(atlas, rna)
    components = PCA(35, svd_solver="full").fit_transform(expression)
    for k in KS:
        expected = shared(model.cell_embedding[rows], components, k)
        assert found.rna.neighbors.mean[k] == pytest.approx(expected, abs=0.01)
    assert (found.rna.n_cells, found.rna.n_cells_without) == (58, 2)
    assert found.rna.values == "log-normalised counts"


@pytest.mark.parametrize("which", ["denoised", "observed"])
def test_genes_against_scipy(found, model, atlas, rna, labels, which):
    rows, expression = paired(atlas, rna)
    values = profiles(model, atlas) if which == "denoised" else labels.astype(float)
    genes = np.stack([values[:, peaks].mean(1) for peaks in peaks_of_genes(atlas)], 1)
    expected = correlations(genes[rows], expression[:, 29::-1])
    agreement = getattr(found.rna, which).agreement
    np.testing.assert_allclose(agreement.per_cell, expected[0], atol=1e-4)
    np.testing.assert_allclose(agreement.per_gene, expected[1], atol=1e-4)
    for name in ("co_embedding", "integration"):
        ranks = getattr(getattr(found.rna, which), name)
        assert (ranks.n_cells, 1 <= ranks.mean <= 58) == (58, True)


def test_denoised_profiles_against_the_whole_table(found, model, atlas, rna):
    whole = profiles(model, atlas)
    components = PCA(50, svd_solver="full").fit_transform(whole)
    kinds = np.array([*"abc"] * (N // 3))
    rows, expression = paired(atlas, rna)
    of_rna = PCA(35, svd_solver="full").fit_transform(expression)
    for k in KS:
        same = [
            (kinds[list(near)] == kinds[i]).mean()
            for i, near in enumerate(neighbors(components, k))
        ]
        assert found.profiles.labels.mean[k] == pytest.approx(np.mean(same), abs=0.01)
        expected = shared(components[rows], of_rna, k)
        assert found.profiles.neighbors.mean[k] == pytest.approx(expected, abs=0.01)
    distances = squareform(pdist(whole, "correlation"))
    expected = silhouette_score(distances, kinds, metric="precomputed")
    assert found.profiles.asw.asw == pytest.approx((expected + 1) / 2, abs=1e-5)
    assert found.profiles.n_peaks_used == found.profiles.n_peaks == P


def test_what_is_printed_and_json(found):
    as_json = json.loads(json.dumps(found.as_json()))
    assert as_json["rna"]["denoised"]["n_genes"] == 30
    assert as_json["rna"]["observed"]["co_embedding"]["chance"] == 29.5
    assert as_json["profiles"]["labels"]["label_score"]["7"] == found.profiles.labels.mean[7]
    lines = dict(evaluation_facts(found))
    assert lines["RNA"].startswith("58 cells, log-normalised counts")
    assert lines["  denoised: r per cell"].endswith("(30 genes)")
    assert "chance 29.5" in lines["  observed: R_c"]
    assert "chance 29.5" in lines["  observed: R_c before imputation"]
    assert "chance" in lines["  neighbor score, k = 7"]


def test_a_named_embedding_and_layer_are_taken(model, atlas, rna):
    with_embedding = rna.copy()
    order = [int(name[4:]) if name.startswith("cell") else 0 for name in rna.obs_names]
    with_embedding.obsm["X_scVI"] = model.cell_embedding[order]
    with_embedding.layers["logged"] = np.log1p(rna.X)
    heard = []
    found = atlasbasset.evaluate(
        model,
        atlas,
        rna=with_embedding,
        rna_embedding="X_scVI",
        rna_layer="logged",
        ks=KS,
        on_event=heard.append,
    )
    assert found.rna.neighbors.mean == {3: 1.0, 7: 1.0}
    assert (found.rna.values, found.rna.embedding) == ("as given", "obsm X_scVI")
    assert found.rna.denoised is found.rna.observed is found.profiles is None
    told = [event.message for event in heard if isinstance(event, Notice)]
    assert any("2 of 60 cells are not in the RNA" in sentence for sentence in told)
    assert any("by neighbours alone" in sentence for sentence in told)


def test_a_plan_says_what_would_be_done(model, atlas, rna, gtf):
    plan = atlasbasset.plan_evaluate(model, atlas, rna=rna, genes=gtf, denoised=True, ks=KS)
    assert plan.as_json()["n_genes"] == 30
    assert plan.as_json()["n_rna_cells"] == 58
    assert "30 genes with" in str(plan)
    assert "of 80 peaks" in str(plan)
    assert "58 cells, principal components of its 35 genes;" in str(plan)


def test_a_plan_says_how_many_genes_components_are_of(model, atlas, rna):
    wide = anndata.AnnData(np.ones((61, 2_001), np.float32), obs=rna.obs)
    plan = atlasbasset.plan_evaluate(model, atlas, rna=wide, ks=KS)
    assert "components of the 2,000 most variable of its 2,001 genes" in str(plan)
    wide = wide[:, 1:].copy()
    plan = atlasbasset.plan_evaluate(model, atlas, rna=wide, ks=KS)
    assert "components of its 2,000 genes" in str(plan)


def renamed(rna, *, cells=None, genes=None):
    other = rna.copy()
    other.obs_names = [f"{cells}{i}" for i in range(61)] if cells else other.obs_names
    other.var_names = [f"{genes}{i}" for i in range(35)] if genes else other.var_names
    return other


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rna, gtf: {"rna": renamed(rna, cells="AAAC-")}, "none of the 61 cells .*AAAC-0"),
        (lambda rna, gtf: {"rna": renamed(rna, genes="x"), "genes": gtf}, "none of the 35 genes"),
        (lambda rna, gtf: {"rna": renamed(rna, genes="chr1:9-1")}, "has peaks, not genes"),
        (lambda rna, gtf: {"rna": rna[:3]}, "3 cells in common, but 4"),
        (lambda rna, gtf: {"rna": rna, "rna_layer": "raw"}, "has no layer 'raw'"),
        (lambda rna, gtf: {"rna": rna, "genes": "none.gtf"}, "none.gtf"),
        (lambda rna, gtf: {"genes": gtf}, "are those of the RNA; give it"),
        (lambda rna, gtf: {"denoised": True}, "judged by labels or by RNA"),
    ],
)
def test_bad_rna_gets_one_sentence_before_the_work(model, atlas, rna, gtf, change, message):
    with pytest.raises(UserInputError, match=message):
        atlasbasset.plan_evaluate(model, atlas, ks=KS, **change(rna, gtf))


def test_identifiers_match_without_their_versions(model, atlas, rna, gtf):
    by_id = rna.copy()
    by_id.var["gene_ids"] = [f"ENSG{i:05}.7" for i in range(29, -1, -1)] + list("vwxyz")
    by_id.var_names = [f"symbol{i}" for i in range(35)]
    plan = atlasbasset.plan_evaluate(model, atlas, rna=by_id, genes=gtf, ks=KS)
    assert plan.rna.genes.columns.tolist() == list(range(29, -1, -1))
