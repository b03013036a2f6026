"""Peaks cut into pieces that do not overlap, and what is read back of them."""

from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pytest

from atlasbasset.verbs.tracks.files import pieces_of, write_bed, write_bigwig


def peaks(*places: tuple[str, int, int]) -> pd.DataFrame:
    return pd.DataFrame(places, columns=["chrom", "start", "end"])


def test_overlapping_peaks_are_cut_and_share_their_mean() -> None:
    table = peaks(("b", 5, 9), ("a", 10, 30), ("a", 20, 40), ("a", 50, 60))
    values = np.array([[1, 10], [2, 20], [4, 40], [8, 80]], np.float32)
    places, found = pieces_of(table, values, {"a": 100, "b": 7})
    assert places == [("a", 10, 20), ("a", 20, 30), ("a", 30, 40), ("a", 50, 60), ("b", 5, 7)]
    assert found[:, 0].tolist() == [2, 3, 4, 8, 1]
    assert found[:, 1].tolist() == [20, 30, 40, 80, 10]


@pytest.mark.parametrize("seed", range(3))
def test_pieces_agree_with_a_mean_base_by_base(seed) -> None:
    rng = np.random.default_rng(seed)
    start = rng.integers(0, 80, 15)
    table = peaks(*(("a", s, s + n) for s, n in zip(start, rng.integers(1, 20, 15), strict=True)))
    values = rng.random((15, 1)).astype(np.float32)
    places, found = pieces_of(table, values, {"a": 100})
    by_base = np.full(100, np.nan)
    for base in range(100):
        here = (table["start"] <= base) & (table["end"] > base)
        by_base[base] = values[here].mean() if here.any() else np.nan
    drawn = np.full(100, np.nan)
    for (_, first, last), value in zip(places, found[:, 0], strict=True):
        assert np.isnan(drawn[first:last]).all()
        drawn[first:last] = value
    np.testing.assert_allclose(drawn, by_base, rtol=1e-5)


def test_a_bigwig_holds_what_was_written_whatever_the_order_of_names(tmp_path) -> None:
    pybigtools = pytest.importorskip("pybigtools", reason="extra tracks is not installed")
    path = tmp_path / "one.bw"
    write_bigwig(path, {"chr2": 50, "chr10": 40}, [("chr2", 1, 5), ("chr10", 0, 40)], [0.5, 2.0])
    file = pybigtools.open(str(path))
    assert file.chroms() == {"chr2": 50, "chr10": 40}
    assert list(file.records("chr2")) == [(1, 5, 0.5)]
    assert list(file.records("chr10")) == [(0, 40, 2.0)]


def test_equal_tables_are_equal_bed_files(tmp_path) -> None:
    for name in ("one", "two"):
        write_bed(tmp_path / name, peaks(("a", 1, 2)))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert gzip.decompress((tmp_path / "one").read_bytes()) == b"a\t1\t2\n"
