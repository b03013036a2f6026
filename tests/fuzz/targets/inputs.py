"""Counts of every kind, what goes beside them, and the whole way to an atlas."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import anndata
import h5py
import numpy as np
import pandas as pd
from scipy.io import mmwrite
from scipy.sparse import coo_array, csc_matrix, csr_matrix

import atlasstore
from atlasstore.inputs import open_source
from atlasstore.inputs.barcodes import read_barcodes
from atlasstore.inputs.cell_table import read_cell_table
from atlasstore.inputs.sample_sheet import read_sample_sheet
from atlasstore.inputs.samples import plan_samples
from fuzz.changes import FOLDER
from fuzz.hdf5_changes import HDF5
from fuzz.target import Target
from fuzz.targets.digests import of_arrays, of_table
from fuzz.text_changes import COMPRESSED, TEXT, bgzipped
from small_atlas import random_chromosomes, write_fasta
from small_stores import everything

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["INPUTS"]

N_CELLS, N_PEAKS = 12, 9
CELLS = [f"CELL{i:02d}-1" for i in range(N_CELLS)]
PEAKS = [(f"chr{1 + i % 2}", 300 + 400 * i, 600 + 400 * i) for i in range(N_PEAKS)]
NAMES = [f"{chrom}:{start}-{end}" for chrom, start, end in PEAKS]


def counts() -> np.ndarray:
    drawn = np.random.default_rng(3).poisson(0.6, (N_CELLS, N_PEAKS))
    drawn[:, 0] += 1
    return drawn


def adata(layout: str = "csr") -> anndata.AnnData:
    made = {"csr": csr_matrix, "csc": csc_matrix, "dense": np.asarray}[layout](
        counts().astype(np.float32)
    )
    obs = pd.DataFrame(
        {
            "type": pd.Categorical(["a", "b", "c"] * 4),
            "depth": np.arange(N_CELLS),
            "good": pd.array([True, None, False] * 4, dtype="boolean"),
            "score": np.linspace(0, 1, N_CELLS),
            "name": [f"n{i}" for i in range(N_CELLS)],
        },
        index=CELLS,
    )
    return anndata.AnnData(made, obs=obs, var=pd.DataFrame({"gc": 0.5}, index=NAMES))


def source_values(path: Path, **options: Path) -> str:
    source = open_source(path, **options)
    try:
        step = max(1, min(source.cells_per_read, len(source.obs)))
        rows = [
            source.read_cells(at, min(at + step, len(source.obs)))
            for at in range(0, len(source.obs), step)
        ]
        found = [of_arrays(r.indptr, r.indices, r.data) for r in rows]
        return " ".join([of_table(source.obs), of_table(source.peaks), *found])
    finally:
        source.close()


def write_h5ad(layout: str) -> object:
    return lambda folder: adata(layout).write_h5ad(folder / "counts.h5ad")


def read_h5ad(folder: Path) -> str:
    return source_values(folder / "counts.h5ad")


def write_h5mu(folder: Path) -> None:
    adata().write_h5ad(folder / "part.h5ad")
    with h5py.File(folder / "counts.h5mu", "w") as file, h5py.File(folder / "part.h5ad") as part:
        part.copy("/", file.create_group("mod"), name="atac")
        file.attrs["encoding-type"] = "MuData"
    (folder / "part.h5ad").unlink()


def write_zarr(folder: Path) -> None:
    with anndata.settings.override(zarr_write_format=3):
        adata().write_zarr(folder / "counts.zarr")


def write_tenx(folder: Path) -> None:
    by_cell = csr_matrix(counts())
    with h5py.File(folder / "counts.h5", "w") as file:
        matrix = file.create_group("matrix")
        matrix["barcodes"] = np.array(CELLS, "S")
        matrix["shape"] = np.array([N_PEAKS, N_CELLS], "i4")
        for part in ("data", "indices", "indptr"):
            matrix.create_dataset(part, data=getattr(by_cell, part), chunks=True, compression=4)
        features = matrix.create_group("features")
        features["id"] = features["name"] = np.array(NAMES, "S")
        features["feature_type"] = np.array(["Peaks"] * N_PEAKS, "S")
        features["genome"] = np.array(["hg38"] * N_PEAKS, "S")


def write_triplets(folder: Path) -> None:
    place = folder / "mtx"
    place.mkdir()
    mmwrite(place / "matrix.mtx", coo_array(counts().T))
    (place / "barcodes.tsv").write_text("\n".join(CELLS) + "\n")
    lines = [f"{n}\t{n}\tPeaks\t{c}\t{s}\t{e}" for n, (c, s, e) in zip(NAMES, PEAKS, strict=True)]
    (place / "features.tsv").write_text("\n".join(lines) + "\n")


def write_peaks(folder: Path) -> None:
    text = "".join(f"{chrom}\t{start}\t{end}\n" for chrom, start, end in PEAKS)
    (folder / "peaks.bed").write_text(text)


def fragments(repeats: int = 1) -> bytes:
    rows = [
        f"{PEAKS[p][0]}\t{PEAKS[p][1] + 5 + k}\t{PEAKS[p][1] + 90 + k}\t{CELLS[c]}\t{1 + k % 2}\n"
        for p in np.argsort([chrom for chrom, *_ in PEAKS], kind="stable")
        for c in range(N_CELLS)
        for k in range(int(counts()[c, p]) * repeats)
    ]
    return ("# made by a test\n" + "".join(rows)).encode()


def write_fragments(folder: Path) -> None:
    write_peaks(folder)
    (folder / "fragments.tsv").write_bytes(fragments())
    (folder / "barcodes.txt").write_text("\n".join(CELLS) + "\n")


def write_bgzip(folder: Path) -> None:
    write_peaks(folder)
    (folder / "fragments.tsv.gz").write_bytes(bgzipped(fragments(60)))


def read_fragments(folder: Path) -> str:
    beds = {"peaks": folder / "peaks.bed", "barcodes": folder / "barcodes.txt"}
    return source_values(folder / "fragments.tsv", **beds)


def read_bgzip(folder: Path) -> str:
    return source_values(folder / "fragments.tsv.gz", peaks=folder / "peaks.bed")


def write_sheet(folder: Path) -> None:
    lines = 'a.h5ad,one,,1,gut\n"b.h5ad",two,list.txt,2,"liver, left"\n'
    text = f"path,sample,barcodes,batch,tissue\n{lines}"
    (folder / "sheet.csv").write_text(text)


def read_sheet(folder: Path) -> str:
    return f"{read_sample_sheet(folder / 'sheet.csv')} {plan_samples([str(folder / 'sheet.csv')])}"


def write_cells(folder: Path) -> None:
    rows = [f'{cell},{i % 3},"type {i % 2}",0{i}\n' for i, cell in enumerate(CELLS)]
    (folder / "cells.csv").write_text("cell,leiden,cell type,code\n" + "".join(rows))
    (folder / "barcodes.txt").write_text("".join(f"{cell}\tx\n" for cell in CELLS))


def read_cells(folder: Path) -> str:
    listed = read_barcodes(folder / "barcodes.txt")
    return f"{of_table(read_cell_table(folder / 'cells.csv'))} {list(listed)}"


def write_whole(folder: Path) -> None:
    adata().write_h5ad(folder / "counts.h5ad")
    lengths = {"chr1": 5000, "chr2": 5100}
    genome = random_chromosomes(np.random.default_rng(0), lengths, letters=b"ACGT")
    write_fasta(folder / "genome.fa", genome)


def read_whole(folder: Path) -> str:
    """Preprocess, and read what was made; whatever is refused leaves nothing behind."""
    out = folder / "out.zarr"
    try:
        atlasstore.preprocess(
            folder / "counts.h5ad",
            genome=folder / "genome.fa",
            out=out,
            window_bp=192,
            min_cell_fraction=0,
            memory="1GB",
            on_event=lambda _: None,
        )
    except atlasstore.errors.UserInputError:
        left = [p.name for p in folder.iterdir() if p.name.startswith("out.zarr")]
        assert not left, f"refused, but {left} is left"
        raise
    found = everything(str(out))
    shutil.rmtree(out)
    return found[: found.index('"provenance"')]


INPUTS = (
    Target("fragments", write_fragments, read_fragments,
           {"fragments.tsv": TEXT, "peaks.bed": TEXT, "barcodes.txt": TEXT}),
    Target("fragments.gz", write_bgzip, read_bgzip, {"fragments.tsv.gz": COMPRESSED}),
    Target("h5ad csr", write_h5ad("csr"), read_h5ad, {"counts.h5ad": HDF5}),
    Target("h5ad csc", write_h5ad("csc"), read_h5ad, {"counts.h5ad": HDF5}),
    Target("h5ad dense", write_h5ad("dense"), read_h5ad, {"counts.h5ad": HDF5}),
    Target("h5mu", write_h5mu, lambda f: source_values(f / "counts.h5mu"), {"counts.h5mu": HDF5}),
    Target("AnnData zarr", write_zarr, lambda f: source_values(f / "counts.zarr"),
           {"counts.zarr": tuple(c for c in FOLDER)}),
    Target("10x h5", write_tenx, lambda f: source_values(f / "counts.h5"), {"counts.h5": HDF5}),
    Target("10x folder", write_triplets, lambda f: source_values(f / "mtx"),
           {"mtx/matrix.mtx": TEXT, "mtx/features.tsv": TEXT, "mtx/barcodes.tsv": TEXT}),
    Target("sample sheet", write_sheet, read_sheet, {"sheet.csv": TEXT}),
    Target("cell tables", write_cells, read_cells, {"cells.csv": TEXT, "barcodes.txt": TEXT}),
    Target("preprocess", write_whole, read_whole, {"counts.h5ad": HDF5, "genome.fa": TEXT}),
)  # fmt: skip
