from __future__ import annotations

from contextlib import ExitStack

import anndata
import fsspec
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from scipy.sparse import csr_matrix

from atlasstore.errors import CountsError, PeaksError
from atlasstore.events import Notice
from atlasstore.inputs import anndata_input, open_source

LAYOUTS = ["csr", "csc", "dense"]


def check(source, sample) -> None:
    """Every run of cells equals the same rows of the truth, in canonical form."""
    n = len(sample.counts)
    for start, stop in [(0, n), (0, 1), (3, 9), (n - 1, n), (4, 4)]:
        read = source.read_cells(start, stop)
        assert read.dtype == np.int32
        assert read.shape == (stop - start, sample.counts.shape[1])
        assert read.has_canonical_format
        assert (read.data != 0).all()
        np.testing.assert_array_equal(read.toarray(), sample.counts[start:stop])
    assert list(source.obs.index) == sample.barcodes
    peaks = source.peaks
    assert list(zip(peaks.chrom, peaks.start, peaks.end, strict=True)) == sample.coordinates
    source.close()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float32", "int64", "uint16"])
def test_h5ad_reads_every_layout(sample, layout, dtype) -> None:
    source = open_source(sample.h5ad(layout, dtype))
    assert list(source.obs["depth"]) == list(sample.counts.sum(1))
    check(source, sample)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_counts_in_half_precision_which_scipy_lacks(sample, layout) -> None:
    path = sample.h5ad(layout)
    place = "X" if layout == "dense" else "X/data"
    with h5py.File(path, "r+") as file:
        values, attributes = file[place][()].astype(np.float16), dict(file[place].attrs)
        del file[place]
        file[place] = values
        file[place].attrs.update(attributes)
    check(open_source(path), sample)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("version", [2, 3])
def test_zarr_reads_every_layout(sample, layout, version) -> None:
    check(open_source(sample.zarr(layout, version)), sample)


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_nullable_strings_read_as_other_text_does(sample, tmp_path, suffix) -> None:
    """Names and columns as anndata writes them where pandas holds text as strings."""
    adata, path = sample.adata("csr"), tmp_path / f"strings.{suffix}"
    given = [None, *["a", "b"] * len(adata)][: len(adata)]
    adata.obs["batch"] = pd.array(given, dtype="string")
    adata.obs.index, adata.var.index = (
        pd.Index(names, dtype="string") for names in (sample.barcodes, sample.peak_names)
    )
    settings = {"allow_write_nullable_strings": True, "auto_shard_zarr_v3": False}
    with anndata.settings.override(**settings), ExitStack() as stack:
        h5ad = suffix == "h5ad"
        file = stack.enter_context(h5py.File(path, "w")) if h5ad else zarr.create_group(path)
        anndata.io.write_elem(file, "/", adata)
    source = open_source(path)
    read = source.obs["batch"]
    assert list(read.isna()) == [value is None for value in given]
    assert list(read.dropna().astype(object)) == given[1:]
    check(source, sample)


def test_zarr_reads_from_a_url(sample) -> None:
    url = "memory://inputs/sample.zarr"
    fsspec.filesystem("memory").put(str(sample.zarr("csr", 3)), "/inputs/sample.zarr", True)
    check(open_source(url), sample)


def test_h5ad_reads_from_a_url(sample) -> None:
    fsspec.filesystem("memory").put(str(sample.h5ad()), "/inputs/sample.h5ad")
    check(open_source("memory://inputs/sample.h5ad"), sample)


def test_an_anndata_named_h5_is_read_as_anndata(sample) -> None:
    path = sample.h5ad()
    check(open_source(path.rename(path.with_suffix(".h5"))), sample)


def test_dense_rows_in_small_pieces_read_the_same(sample, monkeypatch) -> None:
    monkeypatch.setattr(anndata_input, "_DENSE_BYTES", 100)
    check(open_source(sample.h5ad("dense")), sample)


def test_multiome_keeps_the_peaks(sample) -> None:
    genes = pd.DataFrame({"feature_types": "Gene Expression"}, index=["G1", "G2"])
    peaks = pd.DataFrame({"feature_types": "Peaks"}, index=sample.peak_names)
    x = np.hstack([np.full((len(sample.counts), 2), 0.5), sample.counts])
    obs = pd.DataFrame(index=sample.barcodes)
    path = sample.folder / "multiome.h5ad"
    anndata.AnnData(csr_matrix(x), obs=obs, var=pd.concat([genes, peaks])).write_h5ad(path)
    events: list[object] = []
    check(open_source(path, on_event=events.append), sample)
    assert events == [
        Notice(f"{path}: 11 peaks kept, 2 other features left out (Gene Expression).")
    ]


def broken(sample, change) -> anndata.AnnData:
    path = sample.h5ad()
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def reshape(file, name, dtype=None):
    """Store a column as a matrix of one, or as another type of its bytes."""
    values, about = file[name][:], dict(file[name].attrs)
    del file[name]
    file[name] = values[:, None] if dtype is None else values.view(dtype)
    file[name].attrs.update(about)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda f: f.__delitem__("X"),
            r"has no counts in X: it has no layers and no raw; name a layer",
        ),
        (lambda f: f.__delitem__("obs"), r"has no obs"),
        (lambda f: f["obs"].__delitem__("depth"), r"has an obs table that cannot be read"),
        (lambda f: f["var"].__delitem__("_index"), r"has a var table"),
        (lambda f: f["X"].__delitem__("indptr"), r"has a matrix /X that cannot be read"),
        (
            lambda f: f["X"].attrs.__setitem__("shape", [23, 12]),
            r"has counts of shape \(23, 12\) but 23 rows in obs and 11 in var",
        ),
        (
            lambda f: reshape(f, "obs/_index"),
            r"column _index of obs has shape \(23, 1\), where one",
        ),
        (lambda f: reshape(f, "obs/depth"), r"column depth of obs has shape \(23, 1\), where one"),
        (
            lambda f: reshape(f, "obs/depth", np.dtype("V8")),
            r"column depth of obs is of type \|V8, which is neither",
        ),
        (
            lambda f: f["obs/depth"].attrs.__setitem__("encoding-type", "nonsense"),
            r"has an obs table that cannot be read \(IORegistryError",
        ),
    ],
)
def test_a_broken_h5ad_is_one_sentence(sample, change, message) -> None:
    path = broken(sample, change)
    with pytest.raises(CountsError, match=message):
        open_source(path).read_cells(0, 23)


def test_an_h5_whose_root_is_damaged_is_one_sentence(sample) -> None:
    content = bytearray(sample.tenx_h5().read_bytes())
    at = content.index(b"HEAP")  # the names of the root's members
    path = sample.folder / "damaged.h5"
    content[at + 8 : at + 32] = b"\xff" * 24
    path.write_bytes(content)
    with pytest.raises(CountsError, match=r"damaged.h5 has a root group that cannot be read"):
        open_source(path)


def test_peaks_in_the_byte_order_of_other_machines(sample) -> None:
    made = sample.adata("csr")
    for at, name in enumerate(("chrom", "start", "end")):
        values = [place[at] for place in sample.coordinates]
        made.var[name] = values if at == 0 else np.array(values, ">i4")
    made.var_names = [f"p{i}" for i in range(11)]
    made.write_h5ad(sample.folder / "big.h5ad")
    found = open_source(sample.folder / "big.h5ad").peaks
    assert found[["chrom", "start", "end"]].to_numpy().tolist() == list(
        map(list, sample.coordinates)
    )


def test_an_h5ad_without_counts_says_so(sample) -> None:
    path = sample.folder / "no_x.h5ad"
    var = pd.DataFrame(index=sample.peak_names)
    anndata.AnnData(obs=pd.DataFrame(index=sample.barcodes), var=var).write_h5ad(path)
    with pytest.raises(CountsError, match="has no counts in X"):
        open_source(path)


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_a_truncated_h5ad_says_so(sample, kept) -> None:
    path = sample.h5ad()
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(CountsError, match="is truncated or not an HDF5 file"):
        open_source(path)


def test_a_text_file_named_h5ad_says_so(sample) -> None:
    with pytest.raises(CountsError, match="is truncated or not an HDF5 file"):
        open_source(sample.text("a.h5ad", "chr1\t1\t2\n"))


def test_a_zarr_that_is_no_anndata_says_so(sample) -> None:
    (sample.folder / "empty.zarr").mkdir()
    with pytest.raises(CountsError, match="zarr group that cannot be read"):
        open_source(sample.folder / "empty.zarr")


def test_names_without_coordinates_name_the_file(sample) -> None:
    path = sample.folder / "genes.h5ad"
    obs = pd.DataFrame(index=sample.barcodes)
    var = pd.DataFrame(index=[f"G{i}" for i in range(11)])
    anndata.AnnData(csr_matrix(sample.counts), obs=obs, var=var).write_h5ad(path)
    with pytest.raises(PeaksError, match=r"genes.h5ad: peak name 'G0' \(row 0"):
        open_source(path)


def test_repeated_barcodes_are_refused(sample) -> None:
    path = broken(sample, lambda f: f["obs/_index"].__setitem__(4, sample.barcodes[2]))
    with pytest.raises(CountsError, match="barcode 's#CELL002-1' more than once"):
        open_source(path)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_values_that_are_no_counts_are_named(sample, layout) -> None:
    adata = sample.adata(layout).copy()
    dense = sample.counts.astype("float32")
    dense[7, 3] = 0.5
    adata.X = {"csr": csr_matrix, "csc": lambda x: csr_matrix(x).tocsc(), "dense": np.asarray}[
        layout
    ](dense)
    path = sample.folder / "normalised.h5ad"
    adata.write_h5ad(path)
    message = r"normalised.h5ad has 0.5 at cell 7, peak column 3 .* raw counts"
    if layout == "csc":  # read whole when it is opened
        with pytest.raises(CountsError, match=message):
            open_source(path)
        return
    source = open_source(path)
    source.read_cells(0, 7)
    with pytest.raises(CountsError, match=message):
        source.read_cells(6, 12)
