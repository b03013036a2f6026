from __future__ import annotations

import h5py
import numpy as np
import pytest

from atlasstore.errors import CountsError, PeaksError
from atlasstore.events import Notice
from atlasstore.inputs import open_source


def check(source, sample) -> None:
    for start, stop in [(0, 23), (5, 9), (22, 23), (4, 4)]:
        read = source.read_cells(start, stop)
        assert read.dtype == np.int32
        assert read.has_canonical_format
        np.testing.assert_array_equal(read.toarray(), sample.counts[start:stop])
    assert list(source.obs.index) == sample.barcodes
    peaks = source.peaks
    assert list(zip(peaks.chrom, peaks.start, peaks.end, strict=True)) == sample.coordinates
    source.close()


@pytest.mark.parametrize("interval", [False, True])
def test_atac_h5(sample, interval) -> None:
    check(open_source(sample.tenx_h5(interval=interval)), sample)


def test_the_older_layout_named_after_a_genome(sample) -> None:
    check(open_source(sample.tenx_h5(group="hg19")), sample)


def test_multiome_keeps_the_peaks_and_says_how_many_it_left(sample) -> None:
    path, events = sample.tenx_h5(genes=4), []
    check(open_source(path, on_event=events.append), sample)
    assert events == [
        Notice(f"{path}: 11 peaks kept, 4 other features left out (Gene Expression).")
    ]


def changed(sample, change):
    path = sample.tenx_h5()
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def test_only_genes_is_refused(sample) -> None:
    def all_genes(file: h5py.File) -> None:
        file["matrix/features/feature_type"][:] = b"Gene "
        file["matrix/features/id"][:] = [b"GENE%d" % i for i in range(11)]

    with pytest.raises(CountsError, match="no features of type Peaks"):
        open_source(changed(sample, all_genes))


@pytest.mark.parametrize("gone", ["indptr", "barcodes", "shape"])
def test_a_missing_part_says_what_is_needed(sample, gone) -> None:
    with pytest.raises(CountsError, match="is not a 10x matrix: it holds matrix"):
        open_source(changed(sample, lambda f: f["matrix"].__delitem__(gone)))


def test_missing_feature_names_are_one_sentence(sample) -> None:
    with pytest.raises(CountsError, match="10x matrix that cannot be read"):
        open_source(changed(sample, lambda f: f["matrix/features"].__delitem__("id")))


def test_parts_that_do_not_fit_are_refused(sample) -> None:
    with pytest.raises(CountsError, match=r"says it has \[12, 23\] .* 11 features and 23 barcodes"):
        open_source(changed(sample, lambda f: f["matrix/shape"].__setitem__(0, 12)))


def test_data_cut_short_is_one_sentence(sample) -> None:
    def shorten(file: h5py.File) -> None:
        data = file["matrix/data"][:5]
        del file["matrix/data"]
        file["matrix/data"] = data

    with pytest.raises(CountsError, match=r"has /matrix/indptr with its end at \d+, but 5 data"):
        open_source(changed(sample, shorten)).read_cells(0, 23)


def test_a_negative_count_is_named(sample) -> None:
    path = changed(sample, lambda f: f["matrix/data"].__setitem__(0, -3))
    with pytest.raises(CountsError, match=r"has -3 at cell 0, peak column"):
        open_source(path).read_cells(0, 23)


def test_names_without_coordinates_name_the_file(sample) -> None:
    path = changed(sample, lambda f: f["matrix/features/id"].__setitem__(2, b"GENE"))
    with pytest.raises(PeaksError, match=r"10x-0-matrix-False.h5: peak name 'GENE' \(row 2"):
        open_source(path)


@pytest.mark.parametrize("part", ["barcodes", "features/id", "features/feature_type"])
@pytest.mark.parametrize(
    "change",
    [lambda n: n[:, None], lambda n: n[:-1], lambda n: n[0]],
    ids=["column", "shorter", "one"],
)
def test_names_of_another_shape_are_one_sentence(sample, part, change) -> None:
    def reshape(file: h5py.File) -> None:
        names = change(file[f"matrix/{part}"][:])
        del file[f"matrix/{part}"]
        file[f"matrix/{part}"] = names

    with pytest.raises(CountsError, match=r"cannot be read|says it has"):
        open_source(changed(sample, reshape))
