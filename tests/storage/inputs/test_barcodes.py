from __future__ import annotations

import gzip

import numpy as np
import pytest

from atlasstore.errors import CountsError
from atlasstore.inputs import matrix_counts, open_source
from atlasstore.inputs.barcodes import read_barcodes


def test_reads_plain_and_gzip_and_skips_empty_lines(tmp_path) -> None:
    plain, zipped = tmp_path / "a.txt", tmp_path / "b.txt"
    plain.write_bytes(b"x#A-1\r\nB\n\n")
    zipped.write_bytes(gzip.compress(plain.read_bytes()))
    assert list(read_barcodes(plain)) == list(read_barcodes(zipped)) == ["x#A-1", "B"]


def test_a_repeated_barcode_is_refused(tmp_path) -> None:
    (tmp_path / "a.txt").write_text("A\nB\nA\n")
    with pytest.raises(CountsError, match=r"a\.txt has the barcode 'A' more than once"):
        read_barcodes(tmp_path / "a.txt")


@pytest.mark.parametrize("layout", ["csr", "csc"])
@pytest.mark.parametrize("span", [1, 4, 1000])
def test_a_list_selects_cells_in_the_inputs_order(sample, monkeypatch, layout, span) -> None:
    monkeypatch.setattr(matrix_counts, "_CELLS_PER_SPAN", span)
    rows = [20, 3, 4, 11, 0]
    chosen = [sample.barcodes[row] for row in rows]
    listed = sample.text("list.txt", "\n".join(chosen))
    source = open_source(sample.h5ad(layout), barcodes=listed)
    expected = sample.counts[sorted(rows)]
    assert list(source.obs.index) == [sample.barcodes[row] for row in sorted(rows)]
    assert list(source.obs["depth"]) == list(expected.sum(1))
    for start, stop in [(0, 5), (1, 3), (4, 5), (2, 2)]:
        read = source.read_cells(start, stop)
        assert read.dtype == np.int32
        np.testing.assert_array_equal(read.toarray(), expected[start:stop])
    source.close()


def test_unknown_barcodes_are_counted_and_the_first_named(sample) -> None:
    unknown = [f"NO{i}" for i in range(5)]
    listed = sample.text("list.txt", "\n".join([sample.barcodes[0], *unknown]))
    with pytest.raises(
        CountsError,
        match=r"^5 of 6 barcodes in .*list.txt are not cells .*\(NO0, NO1, NO2, \.\.\.\)",
    ):
        open_source(sample.h5ad(), barcodes=listed)


def test_a_missing_suffix_is_pointed_out(sample) -> None:
    stripped = [name.removesuffix("-1") for name in sample.barcodes]
    listed = sample.text("list.txt", "\n".join(stripped))
    with pytest.raises(CountsError, match="would match with the suffix -1 added"):
        open_source(sample.h5ad(), barcodes=listed)
