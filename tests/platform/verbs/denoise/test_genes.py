from __future__ import annotations

from dataclasses import replace

import anndata
import numpy as np
import pytest

import atlasbasset
from atlasbasset.verbs.denoise import genes as verb
from atlasbasset.verbs.denoise.denoise import denoise
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import StoreExistsError, UserInputError
from atlasstore.events import Notice
from atlasstore.results.as_anndata import predicted
from atlasstore.results.result import Result
from small_atlas import make_atlas, random_labels
from small_model import TINY, random_weights, write_model
from small_tables import small_tables

N, P = 50, 40  # peaks [200 + 500 i, 500 + 500 i), 20 on each of two chromosomes
GENES = """\
chrI\tx\tgene\t2300\t9000\t.\t+\t.\tgene_id "G1"; gene_name "one";
chrI\tx\tgene\t100\t9900\t.\t-\t.\tgene_id "G2";
chrII\tx\tgene\t5000\t90000\t.\t-\t.\tgene_id "far";
chrII\tx\tgene\t1\t900\t.\t+\t.\tgene_id "G3";
"""
TSS = {"G1": ("chrI", 2299), "G2": ("chrI", 9899), "G3": ("chrII", 0)}


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    rng = np.random.default_rng(5)
    codes = rng.integers(0, 5, (P, TINY.window_bp + 6), dtype=np.uint8)
    url = tmp_path_factory.mktemp("stores") / "atlas"
    return Atlas.open(make_atlas(url, random_labels(rng, 9, P), codes))


@pytest.fixture(scope="module", params=[0, 3], ids=["plain", "batches"])
def model(tmp_path_factory, request):
    weights = random_weights(np.random.default_rng(7), N, n_batches=request.param)
    url = write_model(tmp_path_factory.mktemp("stores") / "model", weights)
    return atlasbasset.load_model(url, device="cpu")


@pytest.fixture
def gtf(tmp_path):
    (tmp_path / "genes.gtf").write_text(GENES)
    return tmp_path / "genes.gtf"


def run(model, atlas, gtf, out, **changes):
    for option, names in (("peaks", atlas.var.index), ("cells", model.obs_names)):
        if option in changes:
            changes[option] = list(names[changes[option]])
    return denoise(model, atlas, genes=gtf, out=out, **changes)


def expected(model, atlas, scale, cells, peaks):
    codes = atlas.sequence_codes(0, P)[:, 3:-3]
    own = replace(model, batch=None, batch_embedding=None, batch_intercept=None)
    by_peak = own.predict(codes, cells=cells, scale=scale).T  # never with batch terms
    means = []
    for chrom, tss in TSS.values():
        var = atlas.var.iloc[peaks]
        near = (var.chrom == chrom) & (var.start <= tss + 2000) & (var.end > tss - 2000)
        means.append(by_peak[:, peaks][:, near.to_numpy()].mean(axis=1))
    return np.stack(means, axis=1)


@pytest.mark.parametrize(
    ("scale", "dtype"),
    [("linear", "float32"), ("sigmoid", "float16"), ("probability", "float32")],
)
def test_means_of_the_peaks_near_each_tss(model, atlas, gtf, tmp_path, monkeypatch, scale, dtype):
    small_tables(monkeypatch.setattr, chunk_bytes=4 * 3 * 4, shard_bytes=16 * 3 * 4)
    monkeypatch.setattr(verb, "_TILE_CELLS", 5)
    cells, peaks = np.arange(40, 2, -1), np.flatnonzero(np.arange(P) % 5)
    changes = {"scale": scale, "dtype": dtype, "cells": cells, "peaks": peaks}
    report = run(model, atlas, gtf, tmp_path / "r", **changes)
    found = anndata.read_zarr(tmp_path / "r")
    wanted = expected(model, atlas, scale, cells, peaks)
    close = {"rtol": 1e-4, "atol": 1e-5} if dtype == "float32" else {"rtol": 2e-3, "atol": 1e-3}
    np.testing.assert_allclose(found.X, wanted, **close)
    assert found.X.dtype == dtype
    assert list(found.obs_names) == list(model.obs_names[cells])
    assert list(found.var["gene_id"]) == list(TSS)
    assert list(found.var_names) == ["one", "G2", "G3"]
    assert [tuple(row) for row in found.var[["chrom", "tss"]].itertuples(index=False)] == list(
        TSS.values()
    )
    assert list(found.var["gene_name"]) == ["one", "G2", "G3"]
    assert list(found.var["strand"]) == ["+", "-", "+"]
    assert report.n_peaks <= found.var["n_peaks"].sum() < len(peaks)
    assert (report.n_genes, report.n_cells) == (3, len(cells))
    assert ("scbasset_sequence" in found.varm) == (scale == "linear")
    Result.open(tmp_path / "r").verify()


def test_factored_form(model, atlas, gtf, tmp_path):
    report = run(model, atlas, gtf, tmp_path / "r", dense=False)
    assert report.dense_bytes == 0
    wanted = expected(model, atlas, "linear", np.arange(N), np.arange(P))
    lazy = Result.open(tmp_path / "r").to_anndata(lazy=True)
    np.testing.assert_allclose(lazy.X.compute(), wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(predicted(lazy[3:9, "G3"]), wanted[3:9, 2:], rtol=1e-4, atol=1e-5)


def test_the_same_job_again_and_another_one(model, atlas, gtf, tmp_path):
    events = []
    run(model, atlas, gtf, tmp_path / "r", on_event=events.append)
    assert Notice("1 of 4 genes have no peak within 2,000 bp of their TSS and are left out.") in (
        events
    )
    assert run(model, atlas, gtf, tmp_path / "r").was_finished
    gtf.write_text(GENES.replace("\t1\t900", "\t41\t900"))
    with pytest.raises(StoreExistsError, match="made by another job"):
        run(model, atlas, gtf, tmp_path / "r")


def test_wrong_input_leaves_nothing(model, atlas, gtf, tmp_path):
    other = tmp_path / "other.gtf"
    other.write_text(GENES.replace("chr", ""))
    cases = [
        ({"dtype": "uint8"}, "stored as float32 or float16, got 'uint8'"),
        (
            {"dense": False, "scale": "sigmoid"},
            "on the linear scale only, and the scale is sigmoid",
        ),
        ({"gtf": other}, "genes' are called I, II, the peaks' chrI, chrII"),
        ({"gtf": tmp_path / "absent"}, "does not exist"),
        ({"peaks": np.array([13])}, "none of 4 genes has a peak"),
    ]
    before = sorted(tmp_path.iterdir())
    for changes, said in cases:
        with pytest.raises(UserInputError, match=said):
            run(model, atlas, out=tmp_path / "r", **({"gtf": gtf} | changes))
        assert sorted(tmp_path.iterdir()) == before
