from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlasstore.errors import PeaksError
from atlasstore.genome.peaks import (
    check_peaks_valid,
    find_duplicates,
    parse_peak_names,
    peak_names,
    peaks_from_var,
    read_bed,
)

CHROM = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,12}[A-Za-z0-9.]", fullmatch=True)


@given(
    rows=st.lists(st.tuples(CHROM, st.integers(0, 10**10), st.integers(1, 10**6)), min_size=1),
    style=st.sampled_from(["{}:{}-{}", "{}-{}-{}", "{}_{}_{}", "{}:{}_{}"]),
)
def test_names_are_split_from_the_right(rows, style) -> None:
    names = [style.format(chrom, start, start + width) for chrom, start, width in rows]
    peaks = parse_peak_names(names)
    assert list(peaks.columns) == ["chrom", "start", "end"]
    assert list(peaks.index) == names
    assert list(peaks["chrom"]) == [chrom for chrom, _, _ in rows]
    assert list(peaks["start"]) == [start for _, start, _ in rows]
    assert list(peaks["end"]) == [start + width for _, start, width in rows]
    assert peaks["start"].dtype == peaks["end"].dtype == np.int64


def test_a_chromosome_that_looks_like_coordinates() -> None:
    peaks = parse_peak_names(["chr1_GL456211_random_5_9", "HLA-A*01:01-7-8"])
    assert list(peaks["chrom"]) == ["chr1_GL456211_random", "HLA-A*01:01"]


@pytest.mark.parametrize(
    "name", ["GAPDH", "chr1:5", "chr1:a-b", "chr1:-5-9", ":1-2", "chr1:1,0-2", "c:\u0661-\u0669"]
)
def test_a_name_without_coordinates_is_given_with_its_row(name) -> None:
    with pytest.raises(PeaksError) as caught:
        parse_peak_names(["chr1:1-2", name])
    assert f"{name!r} (row 1" in str(caught.value)


@pytest.mark.parametrize(
    "columns",
    [("chrom", "start", "end"), ("seqnames", "Start", "END"), ("Chromosome", "Start", "End")],
)
def test_columns_go_before_names_and_the_others_are_kept(columns) -> None:
    values = [["chr1", 5, 10, 0.5], ["chr2", 7, 9, 0.1]]
    var = pd.DataFrame(values, columns=[*columns, "score"], index=["chr9:1-2", "other"])
    peaks = peaks_from_var(var)
    assert list(peaks.columns) == ["chrom", "start", "end", "score"]
    assert list(peaks.index) == ["chr9:1-2", "other"]
    assert peaks.iloc[1].tolist() == ["chr2", 7, 9, 0.1]


def test_categories_and_text_numbers_are_read() -> None:
    var = pd.DataFrame(
        {"chr": pd.Categorical(["b", "a"]), "start": ["1", "2"], "end": pd.Categorical(["4", "5"])}
    )
    peaks = peaks_from_var(var)
    assert peaks["chrom"].tolist() == ["b", "a"]
    assert peaks["chrom"].dtype == object
    assert peaks["end"].tolist() == [4, 5]


def test_names_are_read_when_a_column_is_missing() -> None:
    var = pd.DataFrame({"start": ["x"], "n": [3]}, index=["chr1-5-9"])
    peaks = peaks_from_var(var)
    assert peaks[["chrom", "start", "end", "n"]].iloc[0].tolist() == ["chr1", 5, 9, 3]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([None, 1, 2], "has no chromosome"),
        (["c", np.nan, 2], "has no whole number in start"),
        (["c", 1, 2.5], "has no whole number in end"),
        (["c", "one", 2], "has no whole number in start"),
        (["c", 1, 1e30], "has end past"),
        (["c", 1, np.inf], "has no whole number in end"),
        (["c", -1, 2], "starts before 0"),
        (["c", 5, 5], "does not end after its start"),
        (["", 1, 2], "lacks a chromosome"),
    ],
)
def test_bad_columns_name_the_peak(row, message) -> None:
    var = pd.DataFrame([["c", 1, 2], row], columns=["chrom", "start", "end"], index=["p", "q"])
    with pytest.raises(PeaksError, match=rf"^peak 'q' \(row 1, counting from 0\) {message}"):
        peaks_from_var(var)


def test_truth_values_are_no_positions() -> None:
    var = pd.DataFrame({"chrom": "c", "start": [True], "end": [5]}, index=["p"])
    with pytest.raises(PeaksError, match="has no whole number in start"):
        peaks_from_var(var)


def test_no_peaks_are_refused() -> None:
    with pytest.raises(PeaksError, match="no peaks"):
        check_peaks_valid(parse_peak_names([]))


def test_duplicates_are_the_later_rows() -> None:
    peaks = parse_peak_names(["a:1-2", "a_1_2", "a:1-3", "b:1-2", "a-1-2"])
    np.testing.assert_array_equal(find_duplicates(peaks), [1, 4])


BED = "# made by hand\ntrack name=x\nbrowser position\n\nchr1\t0\t5\tname\t9\nchr2 7 9\r\n"


@pytest.mark.parametrize("zipped", [False, True])
def test_a_bed_is_read_plain_or_gzip(tmp_path, zipped) -> None:
    path = tmp_path / "peaks.bed"
    path.write_bytes(gzip.compress(BED.encode()) if zipped else BED.encode())
    peaks = read_bed(path)
    assert list(peaks.index) == ["chr1:0-5", "chr2:7-9"]
    assert peaks["end"].dtype == np.int64
    assert list(peak_names(peaks)) == list(peaks.index)


@pytest.mark.parametrize(
    "bad",
    [
        "chr1\t5",
        "chr1\tx\t9",
        "chr1\t9\t9",
        "chr1\t-1\t9",
        "chr1:5-9",
        f"c\t1\t{2**63}",
        "c\t1_0\t99",
    ],
)
def test_a_bad_bed_line_is_shown_with_its_number(tmp_path, bad) -> None:
    (tmp_path / "p.bed").write_text(f"# x\nchr1\t1\t2\n{bad}\n")
    with pytest.raises(PeaksError, match=r"p\.bed line 3 is") as caught:
        read_bed(tmp_path / "p.bed")
    assert repr(bad) in str(caught.value)


def test_an_empty_a_missing_and_a_binary_bed(tmp_path) -> None:
    (tmp_path / "p.bed").write_text("# nothing\n")
    with pytest.raises(PeaksError, match="has no peaks"):
        read_bed(tmp_path / "p.bed")
    with pytest.raises(PeaksError, match="does not exist"):
        read_bed(tmp_path / "q.bed")
    with pytest.raises(PeaksError, match="is a folder"):
        read_bed(tmp_path)
    (tmp_path / "r.bed").write_bytes(b"chr1\t1\t2\n\xff\xfe\x80\n")
    with pytest.raises(PeaksError, match="not text at line 2"):
        read_bed(tmp_path / "r.bed")


def test_a_truncated_gzip_bed_says_where(tmp_path) -> None:
    text = "".join(f"chr1\t{i * 7919 % 99991}\t100000\n" for i in range(3000))
    zipped = gzip.compress(text.encode())
    (tmp_path / "p.bed.gz").write_bytes(zipped[: len(zipped) // 2])
    with pytest.raises(PeaksError, match=r"truncated or damaged: [\d,]+ lines can be read"):
        read_bed(tmp_path / "p.bed.gz")
