"""Counts from whatever a person has: one `CountsSource` per input, by what the input is.

========================  ==================================================================
input                     read as
========================  ==================================================================
``.h5ad``                 AnnData, X as CSR, CSC or dense; backed
``.zarr`` folder          AnnData, zarr format 2 or 3; backed
``.h5``                   10x matrix, scATAC or multiome (or AnnData, when it is one); backed
folder with matrix.mtx    10x matrix folder; in memory
``.tsv``, ``.bed``        fragments, plain or gzip; needs `peaks`; in memory
========================  ==================================================================
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from atlasstore import urls
from atlasstore.errors import CountsError
from atlasstore.events import Subscriber, ignore
from atlasstore.inputs.anndata_input import open_h5ad, open_zarr
from atlasstore.inputs.barcodes import SelectedCells, read_barcodes
from atlasstore.inputs.fragments import open_fragments
from atlasstore.inputs.hdf5 import open_hdf5
from atlasstore.inputs.tenx_folder import is_tenx_folder, open_tenx_folder
from atlasstore.inputs.tenx_h5 import open_tenx_h5
from atlasstore.peaks import read_bed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from atlasstore.inputs.source import CountsSource

__all__ = ["open_source", "open_sources"]

_ALLOWED = (
    "an AnnData .h5ad or .zarr, a 10x .h5, a 10x folder with matrix.mtx, or fragments "
    "(.tsv.gz, .tsv, .bed.gz, with a peak BED)"
)
_FRAGMENTS = (".tsv", ".tsv.gz", ".tsv.bgz", ".bed", ".bed.gz", ".bed.bgz")
_OPEN: dict[str, Callable[..., CountsSource]] = {
    "h5ad": open_h5ad,
    "zarr": open_zarr,
    "10x-h5": open_tenx_h5,
    "10x-folder": open_tenx_folder,
}


def open_sources(
    inputs: Sequence[str | Path],
    *,
    peaks: str | Path | None = None,
    barcodes: str | Path | Sequence[str | Path] | None = None,
    on_event: Subscriber = ignore,
) -> list[CountsSource]:
    """Open several inputs, one source each, in order.

    Parameters
    ----------
    inputs
        Paths or URLs.
    peaks
        BED or narrowPeak file, for the inputs that are fragments.
    barcodes
        Barcode list: one for one input, or one per input.
    on_event
        Hears notices and progress.

    Raises
    ------
    CountsError, PeaksError
        As `open_source`; also when `peaks` is given and no input is fragments, or the numbers
        of inputs and barcode lists differ. Sources opened before are closed.
    """
    if not inputs:
        raise CountsError(f"no input was given; give at least one: {_ALLOWED}.")
    lists = _one_list_each(inputs, barcodes)
    kinds = [_kind(url) for url in inputs]
    if peaks is not None and "fragments" not in kinds:
        raise CountsError(_peaks_unused(inputs[0]))
    sources: list[CountsSource] = []
    try:
        for url, kind, listed in zip(inputs, kinds, lists, strict=True):
            bed = peaks if kind == "fragments" else None
            sources.append(open_source(url, peaks=bed, barcodes=listed, on_event=on_event))
    except BaseException:
        for source in sources:
            source.close()
        raise
    return sources


def open_source(
    url: str | Path,
    *,
    peaks: str | Path | None = None,
    barcodes: str | Path | None = None,
    on_event: Subscriber = ignore,
) -> CountsSource:
    """Open one input as cells x peaks.

    Parameters
    ----------
    url
        Path or URL of an input (see the module's table).
    peaks
        BED or narrowPeak file; needed for fragments, refused for everything else.
    barcodes
        Barcode list, one a line. For fragments it gives the cells and their order; for the other
        inputs it selects cells, which keep the input's order.
    on_event
        Hears notices and progress.

    Raises
    ------
    CountsError
        When the input is missing, of an unknown kind or unreadable, or `peaks` is missing or not
        applicable, or `barcodes` names cells that a matrix input does not have.
    PeaksError
        When peak coordinates cannot be read.
    """
    kind = _kind(url)
    if kind == "fragments":
        if peaks is None:
            raise CountsError(f"{url} is fragments, which need peaks; give a peak BED (--peaks).")
        return open_fragments(url, peaks=read_bed(peaks), barcodes=barcodes, on_event=on_event)
    if peaks is not None:
        raise CountsError(_peaks_unused(url))
    source = _OPEN[kind](url, on_event=on_event)
    if barcodes is None:
        return source
    try:
        return SelectedCells(source, read_barcodes(barcodes), list_name=str(barcodes))
    except BaseException:
        source.close()
        raise


def _one_list_each(
    inputs: Sequence[str | Path], barcodes: str | Path | Sequence[str | Path] | None
) -> list[str | Path | None]:
    if barcodes is None:
        return [None] * len(inputs)
    lists = [barcodes] if isinstance(barcodes, str | Path) else list(barcodes)
    if len(lists) != len(inputs):
        raise CountsError(
            f"{len(lists)} barcode list(s) were given for {len(inputs)} inputs; give one for each "
            "input, in the same order, or none."
        )
    return list(lists)


def _peaks_unused(url: str | Path) -> str:
    return (
        f"peaks were given but {url} is a matrix with peaks of its own; leave --peaks out (it is "
        "for fragments)."
    )


def _kind(url: str | Path) -> str:
    """Return the kind of an input: by its suffix, and by content where that does not tell."""
    text = str(url).rstrip("/").lower()
    if not urls.exists(url):
        raise CountsError(f"{url} does not exist; check the path or URL.")
    if text.endswith(".h5ad"):
        return "h5ad"
    if text.endswith((".h5", ".hdf5")):
        return _hdf5_kind(url)
    if text.endswith(_FRAGMENTS):
        return "fragments"
    names = set(urls.list_names(url))
    if text.endswith(".zarr") or names & {"zarr.json", ".zgroup"}:
        return "zarr"
    if is_tenx_folder(url):
        return "10x-folder"
    raise CountsError(f"{url} is not an input that can be read; give {_ALLOWED}.")


def _hdf5_kind(url: str | Path) -> str:
    with open_hdf5(url) as file:
        return "h5ad" if {"X", "obs", "var"} <= set(file) else "10x-h5"
