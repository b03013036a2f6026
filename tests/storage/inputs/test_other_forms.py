"""Forms that other tools write the same sample in: each reads to the same counts and peaks."""

from __future__ import annotations

import gzip
import importlib
import shutil

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.io import mmwrite
from scipy.sparse import coo_array, csr_matrix

from atlasstore.errors import CountsError, MissingExtraError, PeaksError
from atlasstore.events import Notice
from atlasstore.inputs import open_source
from atlasstore.inputs.samples import Sample, plan_samples
from atlasstore.inputs.survey import survey


def check(source, sample) -> None:
    np.testing.assert_array_equal(source.read_cells(0, 23).toarray(), sample.counts)
    peaks = source.peaks
    assert list(zip(peaks.chrom, peaks.start, peaks.end, strict=True)) == sample.coordinates
    assert list(source.obs.index) == sample.barcodes
    source.close()


def surveyed(path, sample, **options):
    scratch = str(sample.folder / "scratch")
    (source,) = survey([Sample("s", str(path))], scratch=scratch, **options).sources
    return source


def h5ad(sample, change):
    adata = sample.adata("csr")
    change(adata)
    adata.write_h5ad(sample.folder / "other.h5ad")
    return sample.folder / "other.h5ad"


def renamed(style: str):
    def change(adata) -> None:
        places = adata.var_names.str.extract(r"(.*):(\d+)-(\d+)").itertuples(index=False)
        adata.var_names = [style.format(*place) for place in places]

    return change


def in_columns(*names: str):
    def change(adata) -> None:
        places = adata.var_names.str.extract(r"(.*):(\d+)-(\d+)")
        for at, name in enumerate(names):
            adata.var[name] = places[at].to_numpy()
        adata.var_names = [f"peak{i}" for i in range(11)]

    return change


def in_column(name: str):
    def change(adata) -> None:
        adata.var[name] = adata.var_names
        adata.var_names = [f"peak{i}" for i in range(11)]

    return change


@pytest.mark.parametrize(
    "change",
    [
        *(renamed(style) for style in ("{}.{}.{}", "{}_{}_{}", "{}-{}-{}", "{}:{}-{}")),
        in_columns("chr", "start", "end"),
        in_columns("seqname", "start", "end"),
        in_columns("seqnames", "start", "end"),
        in_columns("peak_chr", "peak_start", "peak_end"),
        *(in_column(name) for name in ("interval", "peak", "Peak", "region")),
    ],
    ids=[str(number) for number in range(12)],
)
def test_peaks_in_names_and_columns(sample, change) -> None:
    check(open_source(h5ad(sample, change)), sample)


@pytest.mark.parametrize("kind", ["ATAC", "Accessibility", "peaks", ""])
def test_features_of_other_types_are_peaks_by_their_names(sample, kind) -> None:
    check(open_source(h5ad(sample, lambda a: a.var.insert(0, "feature_types", kind))), sample)


def test_features_of_another_type_beside_genes(sample) -> None:
    peaks = sample.adata("csr")
    genes = anndata.AnnData(csr_matrix(np.full((23, 2), 0.5)), obs=peaks.obs)
    genes.var_names = ["G0", "G1"]
    both = anndata.concat([genes, peaks], axis=1, merge="first")
    both.var["feature_types"] = ["GEX"] * 2 + ["ATAC"] * 11
    both.write_h5ad(sample.folder / "both.h5ad")
    events: list[object] = []
    check(open_source(sample.folder / "both.h5ad", on_event=events.append), sample)
    assert "11 peaks kept, 2 other features left out (GEX)" in str(events[0])


def test_a_mudata_is_read_by_its_peaks(sample) -> None:
    path, part = sample.folder / "m.h5mu", sample.h5ad()
    with h5py.File(path, "w") as file, h5py.File(part) as atac:
        mod = file.create_group("mod")
        for name in ("rna", "atac"):
            atac.copy("/", mod, name=name)
        del mod["rna/X"]
        atac.copy("obs", file)
        atac.copy("var", file)
    check(open_source(path), sample)


@pytest.mark.parametrize("layout", ["csr", "csc", "dense"])
@pytest.mark.parametrize("place", ["layers/counts", "raw/X"])
def test_counts_in_a_layer_or_in_raw(sample, layout, place) -> None:
    adata = sample.adata(layout)
    adata.layers["counts"] = adata.X.copy()
    adata.raw = adata
    adata.X = adata.X * 0.5
    adata.write_h5ad(sample.folder / "l.h5ad")
    check(surveyed(sample.folder / "l.h5ad", sample, matrix=place), sample)
    with pytest.raises(CountsError, match=r"no counts in layers/raw: it has X, the layers counts"):
        surveyed(sample.folder / "l.h5ad", sample, matrix="layers/raw")
    with pytest.raises(CountsError, match="is no AnnData and has no layers/counts"):
        surveyed(sample.tenx_h5(), sample, matrix="layers/counts")


@pytest.mark.parametrize("genomes", [("hg19", "mm10"), ("matrix", "other")])
def test_a_10x_file_of_two_genomes(sample, genomes) -> None:
    path = sample.folder / "two.h5"
    with h5py.File(path, "w") as file:
        for name, part in zip(genomes, (slice(0, 6), slice(6, 11)), strict=True):
            counts = csr_matrix(sample.counts[:, part].astype(np.int32))
            group = file.create_group(name)
            group["barcodes"] = np.array(sample.barcodes, "S")
            group["genes"] = np.array(sample.peak_names[part], "S")
            group["shape"] = counts.shape[::-1]
            for array in ("data", "indices", "indptr"):
                group[array] = getattr(counts, array)
    check(open_source(path), sample)


def test_genomes_that_share_names_go_before_them(sample) -> None:
    one, path = sample.tenx_h5(group="hg19"), sample.folder / "two.h5"
    with h5py.File(one) as file, h5py.File(path, "w") as both:
        for name in ("hg19", "mm10"):
            file.copy("hg19", both, name=name)
    source = open_source(path)
    assert source.peaks.chrom.iloc[[0, 11]].tolist() == ["hg19_chr1_alt", "mm10_chr1_alt"]
    np.testing.assert_array_equal(source.read_cells(0, 23).toarray(), np.tile(sample.counts, 2))
    source.close()
    with h5py.File(path, "r+") as both:
        both["mm10/barcodes"][0] = b"x"
    with pytest.raises(CountsError, match="has other barcodes in /mm10 than in /hg19"):
        open_source(path)


def rewritten(folder, name: str, change) -> None:
    path = folder / name
    path.write_text(change(path.read_text()))


@pytest.mark.parametrize("field", ["unsigned-integer", "real", "integer"])
def test_fields_of_matrix_market(sample, field) -> None:
    folder = sample.tenx_folder()
    rewritten(folder, "matrix.mtx", lambda text: text.replace("integer", field, 1))
    check(open_source(folder), sample)


def test_a_pattern_matrix_market_is_open_or_not(sample) -> None:
    folder = sample.tenx_folder()
    mmwrite(folder / "matrix.mtx", coo_array(sample.counts.T > 0), field="pattern")
    counts = open_source(folder).read_cells(0, 23).toarray()
    np.testing.assert_array_equal(counts, sample.counts > 0)


@pytest.mark.parametrize("style", ["{0}:{1}-{2}", '"{0}:{1}-{2}"', "{0}\t{1}\t{2}", "{0}_{1}_{2}"])
@pytest.mark.parametrize("name", ["features.tsv", "peaks.tsv", "genes.tsv"])
def test_features_of_few_columns(sample, style, name) -> None:
    folder = sample.tenx_folder()
    (folder / "peaks.bed").unlink()
    lines = [style.format(*place) for place in sample.coordinates]
    (folder / name).write_text("\ufeff" + "\n".join(lines) + "\n")
    check(open_source(folder), sample)


def test_quoted_barcodes_with_more_columns(sample) -> None:
    folder = sample.tenx_folder()
    lines = "".join(f'"{barcode}"\tT\n' for barcode in sample.barcodes)
    (folder / "barcodes.tsv").write_text("\ufeff" + lines)
    rewritten(folder, "peaks.bed", lambda text: "\ufeff" + text)
    rewritten(folder, "matrix.mtx", lambda text: "\ufeff" + text)
    check(open_source(folder), sample)


@pytest.mark.parametrize("prefix", ["GSM123_", "GSM123_sample-1_", "s."])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_triplet_with_a_prefix(sample, prefix, zipped) -> None:
    folder = sample.tenx_folder(zipped=zipped)
    for path in list(folder.iterdir()):
        path.rename(folder / f"{prefix}{path.name}")
    check(open_source(folder), sample)
    matrix = next(folder.glob("*matrix.mtx*"))
    check(open_source(matrix), sample)
    assert plan_samples([str(matrix)])[0].name == prefix.rstrip("_.") or prefix == "s."


def test_several_triplets_in_a_folder(sample) -> None:
    folder = sample.tenx_folder()
    for path in list(folder.iterdir()):
        shutil.copy(path, folder / f"B_{path.name}")
        path.rename(folder / f"A_{path.name}")
    with pytest.raises(CountsError, match=r"has 2 matrices .*give the path of each matrix file"):
        open_source(folder)
    check(open_source(folder / "A_matrix.mtx"), sample)


@pytest.mark.parametrize("name", ["a::b.h5ad", "s3::x/y.h5ad", "x?.h5ad", "x[1].h5ad", "a#b.h5ad"])
def test_paths_are_taken_as_they_are(sample, name) -> None:
    path = sample.folder / name
    path.parent.mkdir(exist_ok=True)
    shutil.copy(sample.h5ad(), path)
    (planned,) = plan_samples([str(path)])
    check(open_source(planned.url), sample)


def test_compression_by_a_plugin(sample, monkeypatch) -> None:
    hdf5plugin = pytest.importorskip("hdf5plugin")
    path = sample.folder / "zstd.h5ad"
    sample.adata("csr").write_h5ad(path, compression=hdf5plugin.FILTERS["zstd"])
    check(open_source(path), sample)


def test_a_plugin_that_is_absent_is_named(sample, monkeypatch) -> None:
    def lacking(name: str):
        raise ImportError(name)

    with h5py.File(path := sample.h5ad(), "r+") as file:
        values = file["obs/depth"][:]
        del file["obs/depth"]
        made = file["obs"].create_dataset(
            "depth", values.shape, "i8", chunks=(23,), compression=None, shuffle=False
        )
        made.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
        monkeypatch.setattr(importlib, "import_module", lacking)
        del file["obs/depth"]
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((23,))
        plist.set_filter(32099, h5py.h5z.FLAG_OPTIONAL, ())  # none that is registered
        space = h5py.h5s.create_simple((23,))
        created = h5py.h5d.create(file["obs"].id, b"depth", h5py.h5t.STD_I64LE, space, plist)
        created.write_direct_chunk((0,), values.astype("<i8").tobytes(), 0)
        h5py.Dataset(created).attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    with pytest.raises(MissingExtraError, match="install it with: pip install hdf5plugin"):
        open_source(path)


def test_one_file_is_two_samples(sample) -> None:
    for path, options in ((sample.h5ad(), {}), (sample.fragments(), {"peaks": str(sample.bed())})):
        both = plan_samples([str(path)] * 2)
        found = survey(both, scratch=str(sample.folder / f"scratch{len(options)}"), **options)
        counts = [source.read_cells(0, 23).toarray() for source in found.sources]
        np.testing.assert_array_equal(counts[0], counts[1])
        assert counts[0].sum() == sample.counts.sum()


def test_a_peak_name_as_long_as_a_book_is_shown_short(sample) -> None:
    adata = sample.adata("csr")
    adata.var_names = ["1_" * 100_000, *adata.var_names[1:]]
    adata.write_h5ad(sample.folder / "long.h5ad")
    with pytest.raises(PeaksError, match="has no coordinates") as caught:
        open_source(sample.folder / "long.h5ad")
    assert len(str(caught.value)) < 1000


def test_names_that_cannot_be_stored_are_told(sample) -> None:
    path = h5ad(sample, lambda a: a.obs.insert(0, "a", 1))
    with h5py.File(path, "r+") as file:
        obs = file["obs"]
        obs.create_group("cell")
        obs.move("a", "cell/type")
        obs.attrs["column-order"] = ["cell/type", "depth"]
    events: list[object] = []
    source = open_source(path, on_event=events.append)
    assert list(source.obs.columns) == ["cell_type", "depth"]
    sentence = "The column 'cell/type' is called 'cell_type': its name cannot be stored."
    assert events == [Notice(f"{path}, obs: {sentence}")]


def test_gzip_is_known_by_its_bytes_with_a_mark_inside(sample) -> None:
    folder = sample.tenx_folder()
    text = "\ufeff" + "\n".join(sample.barcodes) + "\n"
    (folder / "barcodes.tsv").write_bytes(gzip.compress(text.encode()))
    check(open_source(folder), sample)


def test_a_table_of_other_kinds_is_read(sample) -> None:
    adata = sample.adata("csr")
    adata.obs["when"] = pd.Categorical(["x"] * 23)
    with anndata.settings.override(allow_write_nullable_strings=True):
        adata.obs["text"] = pd.array([f"t{i}" for i in range(23)], dtype="string")
        adata.write_h5ad(sample.folder / "kinds.h5ad")
    check(open_source(sample.folder / "kinds.h5ad"), sample)
