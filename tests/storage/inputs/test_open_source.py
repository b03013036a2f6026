from __future__ import annotations

import tempfile

import pytest

from atlasstore.errors import CountsError
from atlasstore.inputs import open_source


@pytest.mark.parametrize("kind", ["h5ad", "zarr", "tenx_h5", "tenx_folder", "fragments"])
def test_every_kind_reads_the_same_counts(sample, kind) -> None:
    listed = sample.text("list.txt", "\n".join(sample.barcodes))
    url = sample.zarr("csc", 3) if kind == "zarr" else getattr(sample, kind)()
    bed = sample.bed() if kind == "fragments" else None
    source = open_source(url, peaks=bed, barcodes=listed)
    assert source.name == str(url)
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


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_a_copy_is_deleted_when_the_source_is_closed(sample, temporary) -> None:
    source = open_source(sample.h5ad("csc"))
    source.read_cells(0, 3)
    assert any(temporary.iterdir())
    source.close()
    assert not any(temporary.iterdir())


def test_a_copy_is_deleted_when_nobody_holds_the_source(sample, temporary) -> None:
    source = open_source(sample.h5ad("csc"))
    assert any(temporary.iterdir())
    del source
    assert not any(temporary.iterdir())


def test_a_copy_is_deleted_when_the_input_is_bad(sample, temporary) -> None:
    folder = sample.tenx_folder()
    lines = (folder / "matrix.mtx").read_text().splitlines(keepends=True)
    (folder / "matrix.mtx").write_text("".join(lines[:-4]))
    with pytest.raises(CountsError, match="matrix that cannot be read"):
        open_source(folder)
    assert not any(temporary.iterdir())
