"""The kinds of input: recognised, described and opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlasstore.errors import CountsError
from atlasstore.files import urls
from atlasstore.inputs.anndata_input import describe_anndata, open_anndata
from atlasstore.inputs.bam import bam_files, is_bam
from atlasstore.inputs.hdf5 import open_hdf5, readable
from atlasstore.inputs.matrix_counts import MatrixCounts
from atlasstore.inputs.tenx_folder import describe_tenx_folder, is_tenx_folder, triplet_files
from atlasstore.inputs.tenx_h5 import describe_tenx_h5, open_tenx_h5

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from atlasstore.inputs.source import CountsMatrix, Description
    from atlasstore.inputs.spec import SourceSpec

__all__ = ["ALLOWED", "ANNDATA", "NEED_PEAKS", "describe", "files_of", "input_kind", "open_counts"]

ALLOWED = (
    "an AnnData .h5ad or .zarr, a MuData .h5mu, a 10x .h5, a 10x folder with matrix.mtx, fragments "
    "(.tsv.gz, .tsv, .bed.gz) or a folder of .bam, both with a peak BED, or a sample sheet (.csv)"
)
ANNDATA = ("h5ad", "zarr")
"""Kinds that have layers."""
NEED_PEAKS = ("fragments", "bam")
"""Kinds that have no peaks of their own."""

_FRAGMENTS = (".tsv", ".tsv.gz", ".tsv.bgz", ".bed", ".bed.gz", ".bed.bgz")
_DESCRIBE: dict[str, Callable[..., Description]] = {
    "h5ad": describe_anndata,
    "zarr": describe_anndata,
    "10x-h5": describe_tenx_h5,
    "10x-folder": describe_tenx_folder,
}
_OPEN: dict[str, Callable[..., CountsMatrix]] = {
    "h5ad": open_anndata,
    "zarr": open_anndata,
    "10x-h5": open_tenx_h5,
}


def open_counts(spec: SourceSpec) -> MatrixCounts:
    """Open an input's counts alone, in this process; close what is returned.

    Raises
    ------
    CountsError
        When they cannot be opened.
    """
    options = {"matrix": spec.matrix} if spec.kind in ANNDATA else {}
    matrix = _OPEN[spec.kind](spec.url, name=spec.name, **options)
    return MatrixCounts(matrix, name=spec.name, rows=spec.rows, columns=spec.columns)


def files_of(spec: SourceSpec) -> list[str]:
    """Return the files and folders an input is made of: one, except for BAM and 10x triplets."""
    if spec.kind == "bam":
        return list(map(str, bam_files(spec.name)))
    return triplet_files(spec.name) if ".mtx" in urls.path_end(spec.name) else [spec.name]


def describe(spec: SourceSpec, **options: object) -> Description:
    """Read the tables of an input of a kind that has peaks of its own.

    Raises
    ------
    CountsError, PeaksError
        When they cannot be read.
    """
    if spec.kind in ANNDATA:
        options["matrix"] = spec.matrix
    elif spec.matrix != "X":
        raise CountsError(
            f"{spec.name} is no AnnData and has no {spec.matrix}; leave --layer and --use-raw out."
        )
    return _DESCRIBE[spec.kind](spec.url, **options)


def input_kind(url: str | Path) -> str:
    """Return the kind of an input: by its suffix, and by content where that does not tell.

    Raises
    ------
    CountsError
        When there is no such input, or it is of no kind that can be read.
    """
    text = urls.path_end(url)
    if text.endswith(".bam") and bam_files(url):
        return "bam"
    if not urls.exists(urls.stands_for(url)):
        raise CountsError(f"{url} does not exist; check the path or URL.")
    if text.endswith((".h5ad", ".h5mu")):
        return "h5ad"
    if text.endswith((".h5", ".hdf5")):
        return _hdf5_kind(url)
    if text.endswith(_FRAGMENTS):
        return "fragments"
    return _folder_kind(url)


def _folder_kind(url: str | Path) -> str:
    if urls.path_end(url).endswith(".zarr"):
        return "zarr"
    if set(urls.list_names(url)) & {"zarr.json", ".zgroup"}:
        return "zarr"
    if is_tenx_folder(url):
        return "10x-folder"
    if is_bam(url):
        return "bam"
    raise CountsError(f"{url} is not an input that can be read; give {ALLOWED}.")


def _hdf5_kind(url: str | Path) -> str:
    with open_hdf5(url) as file, readable(str(url), what="a root group"):
        parts = set(file)
        return "h5ad" if {"obs", "var"} <= parts and parts & {"X", "layers", "mod"} else "10x-h5"
