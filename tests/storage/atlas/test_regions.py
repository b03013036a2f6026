from __future__ import annotations

import numpy as np
import pytest

from atlasstore.atlas.atlas import Atlas
from atlasstore.atlas.regions import bed_regions, peak_regions
from atlasstore.errors import GenomeError, PeaksError
from small_atlas import make_atlas, random_chromosomes, random_labels, write_fasta

L = 192
CODE = {letter: code for code, letter in enumerate("ACGT")}


def write_bed(path, *intervals):
    path.write_text("".join(f"{c}\t{s}\t{e}\n" for c, s, e in intervals))
    return path


@pytest.fixture
def chromosomes(rng):
    return random_chromosomes(rng, {"chrI": 1000, "chrII": 400})


@pytest.fixture
def genome(tmp_path, chromosomes):
    return write_fasta(tmp_path / "genome.fa", chromosomes)


def test_windows_are_centred_in_the_files_order(tmp_path, genome, chromosomes):
    given = [("chrII", 100, 301), ("chrI", 500, 501), ("chrI", 0, 11), ("chrI", 990, 1000)]
    found = bed_regions(write_bed(tmp_path / "r.bed", *given), genome, window_bp=L)
    assert list(found.table.index) == [f"{c}:{s}-{e}" for c, s, e in given]
    assert found.table["window_start"].tolist() == [104, 404, -91, 899]
    codes = found.codes(0, 4)
    assert (codes.shape, codes.dtype) == ((4, L), np.uint8)
    for row, (chrom, start, end) in enumerate(given):
        first, text = (start + end) // 2 - L // 2, chromosomes[chrom].upper()
        letters = [text[i] if 0 <= i < len(text) else "N" for i in range(first, first + L)]
        assert codes[row].tolist() == [CODE.get(letter, 4) for letter in letters]
    np.testing.assert_array_equal(found.codes(1, 3), codes[1:3])


def test_a_region_past_the_end_is_refused(tmp_path, genome):
    bed = write_bed(tmp_path / "r.bed", ("chrI", 10, 20), ("chrII", 390, 401))
    with pytest.raises(PeaksError, match=r"1 of 2 .* chrII:390-401, and chrII has 400 bp"):
        bed_regions(bed, genome, window_bp=L)


def test_an_unknown_chromosome_is_refused(tmp_path, genome):
    bed = write_bed(tmp_path / "r.bed", ("I", 10, 20))
    with pytest.raises(GenomeError, match="put the prefix 'chr' before I"):
        bed_regions(bed, genome, window_bp=L)


def test_an_interval_listed_twice_is_refused(tmp_path, genome):
    bed = write_bed(tmp_path / "r.bed", ("chrI", 10, 20), ("chrI", 30, 40), ("chrI", 10, 20))
    with pytest.raises(PeaksError, match=r"1 of 3 intervals .* twice \(first: chrI:10-20\)"):
        bed_regions(bed, genome, window_bp=L)


def test_peaks_by_name(tmp_path, rng):
    codes = rng.integers(0, 5, (30, L + 6), dtype=np.uint8)
    atlas = Atlas.open(make_atlas(tmp_path / "atlas", random_labels(rng, 8, 30), codes))
    rows = [21, 3, 4]
    found = peak_regions(atlas, [atlas.var.index[row] for row in rows])
    assert list(found.table.columns) == ["chrom", "start", "end", "window_start"]
    np.testing.assert_array_equal(found.codes(0, 3), codes[rows, 3:-3])
    np.testing.assert_array_equal(found.codes(1, 2), codes[rows[1:2], 3:-3])
    first = atlas.var.iloc[21]
    assert found.table["window_start"].iloc[0] == (first["start"] + first["end"]) // 2 - L // 2


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["chrI:200-500", "x"], r"1 of 2 peaks are unknown \(x\); .* called like chrI:200-500"),
        (["chrI:200-500", "chrI:200-500"], "peak chrI:200-500 is named twice"),
        ([], "no peaks are named"),
    ],
)
def test_wrong_names_are_refused(tmp_path, rng, names, message):
    codes = rng.integers(0, 4, (4, L + 6), dtype=np.uint8)
    atlas = Atlas.open(make_atlas(tmp_path / "atlas", random_labels(rng, 8, 4), codes))
    with pytest.raises(PeaksError, match=message):
        peak_regions(atlas, names)
