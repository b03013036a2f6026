"""The same cells through different inputs, on real data: where atlases agree and where not.

What is pinned here is explained in ``docs/preprocess.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

import atlasstore
from atlasstore.genome.fasta import Genome
from atlasstore.genome.sequences import window_starts

if TYPE_CHECKING:
    import anndata

pytestmark = pytest.mark.real


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory):
    """One genome index for the module, not in the user's own cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def worm(real_data, tmp_path_factory) -> dict[str, atlasstore.Atlas]:
    """Atlases of the worm's cells from its .h5ad and from its fragments."""
    folder, out = real_data / "worm", tmp_path_factory.mktemp("worm")
    common = {"genome": folder / "ce10.fa.gz", "holdout": ["chrIII"]}
    atlasstore.preprocess(folder / "worm.h5ad", out=out / "h5ad.zarr", **common)
    fragments = {"peaks": folder / "peaks.bed", "out": out / "fragments.zarr"}
    atlasstore.preprocess(folder / "fragments.tsv.gz", **fragments, **common)
    return {name: atlasstore.open(out / f"{name}.zarr") for name in ("h5ad", "fragments")}


@pytest.fixture(scope="module")
def chr22(real_data, tmp_path_factory) -> dict[str, anndata.AnnData]:
    """The 100 human cells from fragments, 10x .h5 and .h5ad, no peak filtered out."""
    folder, out = real_data / "chr22", tmp_path_factory.mktemp("chr22")
    common = {"genome": folder / "hg38_chr22_part.fa.gz", "min_cell_fraction": 0.0}
    common["allow_unknown_windows"] = True  # the genome is a part of chr22
    bed, barcodes = folder / "peaks.narrowPeak.gz", folder / "barcodes.txt.gz"
    atlasstore.preprocess(
        folder / "fragments.tsv.gz", peaks=bed, barcodes=barcodes, out=out / "fragments", **common
    )
    atlasstore.preprocess(folder / "peak_count_10x.h5", out=out / "h5", **common)
    atlasstore.preprocess(folder / "counts.h5ad", out=out / "h5ad", **common)
    return {name: atlasstore.open(out / name).to_anndata() for name in ("fragments", "h5", "h5ad")}


def places(var: pd.DataFrame) -> pd.Index:
    """``chrom:start-end`` of every peak, whatever the input called it."""
    start, end = var["start"].astype(str), var["end"].astype(str)
    return pd.Index(var["chrom"].astype(str) + ":" + start + "-" + end)


def opened(table: anndata.AnnData, cells: pd.Index, peaks: pd.Index) -> np.ndarray:
    """Labels as dense bool in the given order of cells and of peak places."""
    rows, columns = table.obs_names.get_indexer(cells), places(table.var).get_indexer(peaks)
    assert min(rows.min(), columns.min()) >= 0
    return table.X[rows][:, columns].toarray() > 0


def overlapping(var: pd.DataFrame) -> np.ndarray:
    """Which peaks overlap another one."""
    start, end = var["start"].to_numpy(), var["end"].to_numpy()
    chrom = var["chrom"].astype(str).to_numpy()
    meets = (start[:, None] < end) & (start < end[:, None]) & (chrom[:, None] == chrom)
    return meets.sum(1) > 1


def test_worm_size(worm):
    atlas = worm["h5ad"]
    assert (atlas.n_cells, atlas.n_peaks, atlas.n_positives) == (1017, 3512, 466_903)
    assert set(atlas.obs["tissue"]) == {"Germline", "Neurons"}
    test = atlas.var.iloc[atlas.peak_rows("test")]
    assert set(test["chrom"]) == {"chrIII"}
    assert "chrIII" not in set(atlas.var.iloc[atlas.peak_rows("train")]["chrom"])
    atlas.verify()


def test_worm_fragments_have_the_same_sequences_and_split(worm):
    one, two = worm["h5ad"], worm["fragments"]
    assert list(places(one.var)) == list(places(two.var))
    assert list(one.var["split"]) == list(two.var["split"])
    codes = one.sequence_codes(0, one.n_peaks)
    np.testing.assert_array_equal(codes, two.sequence_codes(0, two.n_peaks))


def test_worm_fragments_differ_only_at_overlapping_peaks(worm):
    """The .h5ad misses 32 of 466,935 positives, on 3 peaks that overlap others."""
    one, two = (worm[name].to_anndata() for name in ("h5ad", "fragments"))
    peaks = places(one.var)
    a, b = (opened(table, one.obs_names, peaks) for table in (one, two))
    assert not (a & ~b).any()
    extra = b & ~a
    assert extra.sum() == 32
    assert extra.any(0).sum() == 3
    assert not (extra.any(0) & ~overlapping(one.var)).any()


def test_worm_windows_are_the_genome_s(worm, real_data):
    atlas = worm["h5ad"]
    rows = np.random.default_rng(0).choice(atlas.n_peaks, 50, replace=False)
    var = atlas.var.iloc[rows]
    starts = window_starts(
        var["start"].to_numpy(), var["end"].to_numpy(), window_bp=1344, flank_bp=3
    )
    with Genome.open(real_data / "worm" / "ce10.fa.gz") as genome:
        expected = genome.windows(var["chrom"].astype(str).tolist(), starts, 1350)
    stored = np.vstack([atlas.sequence_codes(int(row), int(row) + 1) for row in rows])
    np.testing.assert_array_equal(stored, expected)


def test_chr22_h5ad_and_fragments_agree_where_both_have_peaks(chr22):
    one, two = chr22["h5ad"], chr22["fragments"]
    peaks = places(one.var)
    assert len(peaks) == 662
    a, b = (opened(table, one.obs_names, peaks) for table in (one, two))
    np.testing.assert_array_equal(a, b)


def test_chr22_10x_counts_fragments_that_span_a_peak(chr22, real_data):
    """The 10x file has 34 positives more: fragments around a whole peak, no end in it."""
    one, two = chr22["h5"], chr22["fragments"]
    peaks = places(two.var)
    a, b = (opened(table, two.obs_names, peaks) for table in (one, two))
    assert not (b & ~a).any()
    cells, columns = np.nonzero(a & ~b)
    assert len(cells) == 34
    fragments = pd.read_csv(
        real_data / "chr22" / "fragments.tsv.gz",
        sep="\t",
        names=["chrom", "start", "end", "barcode", "copies"],
    )
    for cell, column in zip(two.obs_names[cells], columns, strict=True):
        peak = two.var.iloc[column]
        of_cell = fragments[fragments["barcode"] == cell]
        assert ((of_cell["start"] < peak["start"]) & (of_cell["end"] > peak["end"])).any()
