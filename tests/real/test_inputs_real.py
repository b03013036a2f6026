"""The same cells and peaks in several published formats agree, and where not, we know why.

What was found, each asserted here and told in docs/inputs.md:

* worm.h5ad holds insertions, not fragments, so values differ, 0 or not 0 does not; except at the
  four places where three peaks overlap: it left the first of the three out there.
* chr22 counts.h5ad holds insertions too; 0 or not 0 is the same everywhere.
* chr22 peak_count_10x.h5 is 0 and 1 by overlap: fragments that span a peak count there, so it has
  34 more ones of 29,773.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from atlasstore.inputs import open_source
from atlasstore.inputs.fragment_table import fragment_tables
from atlasstore.inputs.insertion_counts import PeakSegments, fragment_peak_pairs

if TYPE_CHECKING:
    from pathlib import Path

    from atlasstore.inputs.source import CountsSource

pytestmark = pytest.mark.real

COORDINATES = ["chrom", "start", "end"]
LEFT_OUT = [118, 2411, 2739, 3249]
"""Rows of worm.h5ad's peaks that are the first of three peaks with a base in common."""


def dense(source: CountsSource) -> pd.DataFrame:
    """All counts, cells x peaks, with both indexes by ``chrom:start-end`` and barcode."""
    counts = source.read_cells(0, len(source.obs)).toarray()
    names = source.peaks[COORDINATES].astype(str).agg("_".join, axis=1)
    return pd.DataFrame(counts, index=source.obs.index, columns=names)


def insertions(url: Path, like: CountsSource) -> np.ndarray:
    """Insertions by cell and peak: each counted by itself, as a fragment of one base."""
    fragments = pd.concat(
        [table.astype({"chrom": str, "barcode": str}) for table in fragment_tables(url)]
    )
    codes, names = pd.factorize(like.peaks["chrom"])
    segments = PeakSegments.build(
        codes.astype(np.int64), like.peaks["start"].to_numpy(), like.peaks["end"].to_numpy()
    )
    chrom = pd.Index(names).get_indexer(fragments["chrom"])
    counts = np.zeros((len(like.obs), len(like.peaks)), dtype=np.int64)
    cell = like.obs.index.get_indexer(fragments["barcode"])
    kept = (chrom >= 0) & (cell >= 0)
    for position in (fragments["start"].to_numpy(), fragments["end"].to_numpy() - 1):
        fragment, peak = fragment_peak_pairs(
            segments, chrom=chrom[kept], start=position[kept], end=position[kept] + 1
        )
        np.add.at(counts, (cell[kept][fragment], peak), 1)
    return counts


@pytest.fixture(scope="module")
def worm(real_data: Path) -> tuple[CountsSource, CountsSource]:
    folder = real_data / "worm"
    by_fragments = open_source(folder / "fragments.tsv.gz", peaks=folder / "peaks.bed")
    return open_source(folder / "worm.h5ad"), by_fragments


def first_of_three(peaks: pd.DataFrame) -> np.ndarray:
    """Peaks whose own end lies past the start of the second peak after them."""
    chrom, start, end = (peaks[column].to_numpy() for column in COORDINATES)
    return np.flatnonzero((chrom[:-2] == chrom[2:]) & (end[:-2] > start[2:]))


def test_worm_fragments_and_h5ad_agree_but_where_three_peaks_overlap(worm) -> None:
    stored, counted = dense(worm[0]), dense(worm[1])
    assert set(stored.index) == set(counted.index)
    assert list(stored.columns) == list(counted.columns)
    counted = counted.loc[stored.index]
    differs = (stored.to_numpy() > 0) != (counted.to_numpy() > 0)
    assert list(first_of_three(worm[0].peaks)) == LEFT_OUT
    assert set(np.flatnonzero(differs.any(axis=0))) < set(LEFT_OUT)
    assert differs.sum() == 32
    assert (counted.to_numpy()[differs] > 0).all()


def test_worm_h5ad_values_are_insertions(worm, real_data) -> None:
    stored = dense(worm[0]).to_numpy()
    missing = insertions(real_data / "worm" / "fragments.tsv.gz", worm[0]) - stored
    assert missing.min() == 0
    assert missing.sum() == 209
    assert set(np.flatnonzero(missing.any(axis=0))) == set(LEFT_OUT)
    assert worm[1].read_cells(0, 1017).sum() == 612_441
    assert stored.sum() == 856_824


def test_worm_h5ad_keeps_its_columns(worm) -> None:
    stored, counted = worm
    assert sorted(stored.obs["tissue"].unique()) == ["Germline", "Neurons"]
    assert list(stored.peaks.columns[:3]) == COORDINATES
    assert "regulatory_class" in stored.peaks
    assert counted.obs["n_fragments"].sum() == 746_479


@pytest.fixture(scope="module")
def chr22(real_data: Path) -> dict[str, CountsSource]:
    folder = real_data / "chr22"
    return {
        "fragments": open_source(
            folder / "fragments.tsv.gz",
            peaks=folder / "peaks.narrowPeak.gz",
            barcodes=folder / "barcodes.txt.gz",
        ),
        "10x": open_source(folder / "peak_count_10x.h5"),
        "h5ad": open_source(folder / "counts.h5ad"),
    }


def test_chr22_inputs_have_the_same_cells_and_peaks(chr22) -> None:
    tables = {kind: dense(source) for kind, source in chr22.items()}
    assert set(tables["fragments"].index) == set(tables["10x"].index) == set(tables["h5ad"].index)
    assert list(tables["fragments"].columns) == list(tables["10x"].columns)
    assert set(tables["h5ad"].columns) < set(tables["10x"].columns)
    assert tables["fragments"].shape == (100, 4283)


def test_chr22_h5ad_agrees_and_its_values_are_insertions(chr22, real_data) -> None:
    stored = dense(chr22["h5ad"])
    counted = dense(chr22["fragments"]).loc[stored.index, stored.columns]
    np.testing.assert_array_equal(stored > 0, counted > 0)
    recounted = insertions(real_data / "chr22" / "fragments.tsv.gz", chr22["h5ad"])
    np.testing.assert_array_equal(recounted, stored)


def test_chr22_10x_h5_also_counts_fragments_that_span_a_peak(chr22, real_data) -> None:
    stored = dense(chr22["10x"])
    assert set(np.unique(stored)) == {0, 1}
    counted = dense(chr22["fragments"]).loc[stored.index]
    only_stored = (stored > 0) & (counted == 0)
    assert only_stored.to_numpy().sum() == 34
    assert not ((stored == 0) & (counted > 0)).to_numpy().any()
    overlapping = overlaps(real_data / "chr22" / "fragments.tsv.gz", chr22["10x"])
    np.testing.assert_array_equal(overlapping, stored > 0)


def overlaps(url: Path, like: CountsSource) -> np.ndarray:
    """Whether any fragment of the cell overlaps the peak by a base or more."""
    found = np.zeros((len(like.obs), len(like.peaks)), dtype=bool)
    for table in fragment_tables(url):
        cell = like.obs.index.get_indexer(table["barcode"].astype(str))
        known = cell >= 0
        start, end = table["start"].to_numpy()[known], table["end"].to_numpy()[known]
        for peak, (_, left, right) in enumerate(like.peaks[COORDINATES].to_numpy()):
            found[cell[known][(start < right) & (end > left)], peak] = True
    return found


def test_barcodes_select_the_same_cells_of_every_input(chr22, real_data, tmp_path) -> None:
    chosen = list(chr22["10x"].obs.index[[70, 3, 15]])
    (tmp_path / "three.txt").write_text("\n".join(chosen))
    folder = real_data / "chr22"
    picked = open_source(folder / "peak_count_10x.h5", barcodes=tmp_path / "three.txt")
    pd.testing.assert_frame_equal(dense(picked), dense(chr22["10x"]).iloc[[3, 15, 70]])
    counted = open_source(
        folder / "fragments.tsv.gz",
        peaks=folder / "peaks.narrowPeak.gz",
        barcodes=tmp_path / "three.txt",
    )
    assert list(counted.obs.index) == chosen
    pd.testing.assert_frame_equal(dense(counted), dense(chr22["fragments"]).loc[chosen])
