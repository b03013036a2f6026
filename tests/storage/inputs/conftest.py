"""A small sample with known counts, and functions that write it in every format."""

from __future__ import annotations

import gzip
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from scipy.io import mmwrite
from scipy.sparse import coo_array, csc_matrix, csr_matrix

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Sample:
    """Counts (cells x peaks) with their names, and where to write them."""

    counts: np.ndarray
    folder: Path

    @property
    def barcodes(self) -> list[str]:
        return [f"s#CELL{i:03d}-1" for i in range(self.counts.shape[0])]

    @property
    def coordinates(self) -> list[tuple[str, int, int]]:
        return [(f"chr{1 + i % 3}_alt", 100 * i, 100 * i + 50) for i in range(self.counts.shape[1])]

    @property
    def peak_names(self) -> list[str]:
        return [f"{chrom}:{start}-{end}" for chrom, start, end in self.coordinates]

    def adata(self, layout: str, dtype: str = "float32") -> anndata.AnnData:
        x = self.counts.astype(dtype)
        made = {"csr": csr_matrix, "csc": csc_matrix, "dense": np.asarray}[layout](x)
        obs = pd.DataFrame({"depth": self.counts.sum(1)}, index=self.barcodes)
        return anndata.AnnData(made, obs=obs, var=pd.DataFrame(index=self.peak_names))

    def h5ad(self, layout: str = "csr", dtype: str = "float32") -> Path:
        path = self.folder / f"{layout}-{dtype}.h5ad"
        self.adata(layout, dtype).write_h5ad(path)
        return path

    def zarr(self, layout: str, version: int) -> Path:
        path = self.folder / f"{layout}-v{version}.zarr"
        group = zarr.create_group(path, zarr_format=version)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # anndata announces its next default formats
            anndata.io.write_elem(group, "/", self.adata(layout))
        return path

    def tenx_h5(self, *, genes: int = 0, group: str = "matrix", interval: bool = False) -> Path:
        """Genes come before the peaks, with counts that are none."""
        path = self.folder / f"10x-{genes}-{group}-{interval}.h5"
        by_cell = csr_matrix(
            np.hstack([np.full((len(self.counts), genes), -7), self.counts]).astype(np.int32)
        )
        names = [f"GENE{i}" for i in range(genes)] + self.peak_names
        with h5py.File(path, "w") as file:
            matrix = file.create_group(group)
            matrix["barcodes"] = np.array(self.barcodes, dtype="S")
            matrix["shape"] = by_cell.shape[::-1]
            for part in ("data", "indices", "indptr"):
                matrix[part] = getattr(by_cell, part)
            if group != "matrix":
                matrix["genes"] = np.array(names, dtype="S")
                return path
            features = matrix.create_group("features")
            features["feature_type"] = np.array(self.types(genes), dtype="S")
            ids = [f"id{i}" for i in range(len(names))] if interval else names
            features["id"] = np.array(ids, dtype="S")
            if interval:
                features["interval"] = np.array(names, dtype="S")
        return path

    def types(self, genes: int) -> list[str]:
        return ["Gene Expression"] * genes + ["Peaks"] * self.counts.shape[1]

    def tenx_folder(self, *, genes: int = 0, zipped: bool = False) -> Path:
        folder = self.folder / f"10x-{genes}-{zipped}"
        folder.mkdir()
        by_cell = np.hstack([np.full((len(self.counts), genes), -7), self.counts])
        mmwrite(folder / "matrix.mtx", coo_array(by_cell.T))
        (folder / "barcodes.tsv").write_text("\n".join(self.barcodes) + "\n")
        if genes:
            lines = [f"GENE{i}\tG{i}\tGene Expression\tchrM\t0\t9" for i in range(genes)]
            lines += [
                f"{chrom}:{start}-{end}\t{chrom}:{start}-{end}\tPeaks\t{chrom}\t{start}\t{end}"
                for chrom, start, end in self.coordinates
            ]
            (folder / "features.tsv").write_text("\n".join(lines) + "\n")
        else:
            (folder / "peaks.bed").write_text(self.bed_text())
        if zipped:
            for path in list(folder.iterdir()):
                gzip_file(path)
                path.unlink()
        return folder

    def bed_text(self) -> str:
        return "".join(f"{chrom}\t{start}\t{end}\n" for chrom, start, end in self.coordinates)

    def bed(self) -> Path:
        return self.text("peaks.bed", self.bed_text())

    def fragments(self) -> Path:
        """As many one-base fragments at each peak's last base as the counts say."""
        lines = [
            f"{chrom}\t{end - 1}\t{end}\t{barcode}\t1\n"
            for row, barcode in zip(self.counts, self.barcodes, strict=True)
            for (chrom, _, end), count in zip(self.coordinates, row, strict=True)
            for _ in range(count)
        ]
        return gzip_file(self.text("fragments.tsv", "".join(lines)))

    def text(self, name: str, content: str) -> Path:
        path = self.folder / name
        path.write_text(content)
        return path


def gzip_file(path: Path) -> Path:
    zipped = path.with_name(path.name + ".gz")
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    return zipped


@pytest.fixture
def sample(tmp_path: Path, rng: np.random.Generator) -> Sample:
    """23 cells x 11 peaks; every cell and every peak has a count."""
    counts = rng.poisson(0.4, (23, 11))
    counts[:, 3] += 1
    counts[5, :] += 1
    return Sample(counts, tmp_path)
