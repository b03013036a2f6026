from __future__ import annotations

import pytest

from atlasstore.errors import CountsError
from atlasstore.inputs import open_source, open_sources
from atlasstore.inputs.counts import InMemorySource


def test_every_kind_reads_the_same_counts(sample) -> None:
    listed = sample.text("list.txt", "\n".join(sample.barcodes))
    inputs = [
        sample.h5ad("csr"),
        sample.zarr("csc", 3),
        sample.tenx_h5(),
        sample.tenx_folder(),
        sample.fragments(),
    ]
    sources = open_sources(inputs, peaks=sample.bed(), barcodes=[listed] * len(inputs))
    assert [source.name for source in sources] == [str(path) for path in inputs]
    for source in sources:
        assert (source.read_cells(0, 23).toarray() == sample.counts).all()
        assert list(source.obs.index) == sample.barcodes
        source.close()


def test_an_unknown_kind_lists_what_is_allowed(sample) -> None:
    with pytest.raises(
        CountsError, match=r"loom is not an input that can be read; give an AnnData"
    ):
        open_source(sample.text("a.loom", "x"))
    (sample.folder / "empty").mkdir()
    with pytest.raises(CountsError, match=r"10x folder with matrix\.mtx"):
        open_source(sample.folder / "empty")


@pytest.mark.parametrize("name", ["a.h5ad", "a.zarr", "a.h5", "folder", "a.tsv.gz"])
def test_a_missing_input_is_named(sample, name) -> None:
    with pytest.raises(CountsError, match=f"{name} does not exist"):
        open_source(sample.folder / name)


def test_fragments_need_peaks(sample) -> None:
    with pytest.raises(CountsError, match="need peaks; give a peak BED"):
        open_source(sample.fragments())


def test_peaks_are_refused_where_they_have_no_use(sample) -> None:
    with pytest.raises(CountsError, match="matrix with peaks of its own"):
        open_source(sample.h5ad(), peaks=sample.bed())
    with pytest.raises(CountsError, match="matrix with peaks of its own"):
        open_sources([sample.h5ad(), sample.tenx_h5()], peaks=sample.bed())


def test_as_many_lists_as_inputs(sample) -> None:
    listed = sample.text("list.txt", "\n".join(sample.barcodes))
    with pytest.raises(CountsError, match=r"1 barcode list\(s\) were given for 2 inputs"):
        open_sources([sample.h5ad(), sample.tenx_h5()], barcodes=listed)
    assert len(open_sources([sample.h5ad()], barcodes=listed)) == 1


def test_no_input_is_refused() -> None:
    with pytest.raises(CountsError, match="no input was given"):
        open_sources([])


def test_sources_opened_before_a_failure_are_closed(sample, monkeypatch) -> None:
    closed: list[str] = []
    monkeypatch.setattr(InMemorySource, "close", lambda self: closed.append(self.name))
    folder = sample.tenx_folder()
    with pytest.raises(CountsError, match="is truncated or not an HDF5 file"):
        open_sources([folder, sample.text("b.h5ad", "not HDF5")])
    assert closed == [str(folder)]
