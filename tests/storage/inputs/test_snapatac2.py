"""Our counts of fragments equal SnapATAC2's, counting strategy ``paired-insertion``.

SnapATAC2 is not among what the tests install (it brings much with it); with
``pip install snapatac2`` these tests run.
"""

from __future__ import annotations

import gzip
import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from atlasstore.inputs import open_source

if TYPE_CHECKING:
    from pathlib import Path

snap = pytest.importorskip("snapatac2", reason="snapatac2 is not installed")

COORDINATES = ["chrom", "start", "end"]


def counted_there(fragments: Path, peaks: Path) -> pd.DataFrame:
    """Return SnapATAC2's counts, cells x peaks."""
    table = pd.read_csv(fragments, sep="\t", comment="#", header=None)
    chroms = (table.groupby(0)[2].max() + 1000).to_dict()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own, of anndata and of pandas
        data = snap.pp.import_fragments(
            fragments, chrom_sizes=chroms, min_num_fragments=0, sorted_by_barcode=False, chrM=[]
        )
        made = snap.pp.make_peak_matrix(data, peak_file=peaks, counting_strategy="paired-insertion")
    return pd.DataFrame(made.X.toarray(), list(made.obs_names), list(made.var_names))


def check_equal(fragments: Path, peaks: Path) -> None:
    source = open_source(fragments, peaks=peaks)
    bed = source.peaks
    names = bed["chrom"] + ":" + bed["start"].astype(str) + "-" + bed["end"].astype(str)
    ours = pd.DataFrame(source.read_cells(0, len(source.obs)).toarray(), source.obs.index, names)
    theirs = counted_there(fragments, peaks)
    assert set(theirs.index) == set(ours.index)
    np.testing.assert_array_equal(theirs.loc[ours.index, ours.columns], ours)
    assert ours.to_numpy().sum() > 0


def test_random_fragments_on_overlapping_peaks(tmp_path, rng) -> None:
    def intervals(n: int, longest: int) -> pd.DataFrame:
        start = rng.integers(0, 5000, n)
        chrom = rng.choice(["chr1", "chr2", "chrX"], n)
        end = start + rng.integers(2, longest, n)
        return pd.DataFrame({"chrom": chrom, "start": start, "end": end})

    peaks = intervals(60, 400).drop_duplicates()
    fragments = intervals(3000, 600).sort_values(COORDINATES)
    fragments["barcode"] = rng.choice([f"CELL{i}-1" for i in range(40)], 3000)
    fragments["copies"] = rng.integers(1, 5, 3000)
    paths = tmp_path / "fragments.tsv.gz", tmp_path / "peaks.bed"
    for path, table in zip(paths, (fragments, peaks), strict=True):
        table.to_csv(path, sep="\t", header=False, index=False)
    check_equal(*paths)


@pytest.mark.real
@pytest.mark.parametrize("name", ["worm", "chr22"])
def test_real_fragments(real_data, tmp_path, name) -> None:
    folder = real_data / name
    peaks = tmp_path / "peaks.bed"
    stored = folder / ("peaks.bed" if name == "worm" else "peaks.narrowPeak.gz")
    content = stored.read_bytes()
    peaks.write_bytes(gzip.decompress(content) if stored.suffix == ".gz" else content)
    check_equal(folder / "fragments.tsv.gz", peaks)
