"""`denoise`: predicted accessibility of chosen peaks in chosen cells, as an AnnData zarr."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from atlasbasset.batch.executor import WorkerPool
from atlasbasset.batch.job import run_job
from atlasbasset.inference.model import Model, Scale, as_model, check_scale
from atlasbasset.inference.selection import named_rows
from atlasbasset.verbs.denoise.genes import GeneReport, denoise_genes
from atlasbasset.verbs.denoise.stages import DenoiseStages
from atlasbasset.verbs.denoise.work import DTYPES, DenseType
from atlasbasset.verbs.shared.atlas_peaks import check_window
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import UserInputError
from atlasstore.events import ignore
from atlasstore.files.text import numbered_lines
from atlasstore.genome.overlaps import overlapping_rows
from atlasstore.genome.peaks import read_bed
from atlasstore.results.result import Result

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from atlasbasset.core.compute import Compute
    from atlasstore.events import Subscriber

__all__ = ["DenoiseReport", "chosen_cells", "chosen_peaks", "denoise"]


@dataclass(frozen=True, slots=True)
class DenoiseReport:
    """What was written."""

    result: str
    """URL of the result."""
    n_cells: int
    n_peaks: int
    """Columns; of gene accessibility, peaks that lie near a TSS."""
    n_genes: int | None
    """Columns of gene accessibility; None where they are peaks."""
    scale: str
    dtype: str | None
    """Of the dense table; None without one."""
    dense_bytes: int
    """Size of the dense table before compression; 0 without one."""
    largest_error: float | None
    """Of a value stored in a byte, by rounding; None for other dtypes."""
    was_finished: bool
    """Whether the very same job had made the result before, so that nothing was done."""

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


def denoise(
    model: str | Path | Model,
    atlas: str | Path | Atlas,
    *,
    out: str | Path,
    peaks: str | Path | Sequence[str] | None = None,
    cells: str | Path | Sequence[str] | None = None,
    genes: str | Path | None = None,
    scale: Scale = "linear",
    dtype: DenseType = "float32",
    dense: bool = True,
    compute: Compute = "fp32",
    workers: int = 0,
    gpus_per_worker: float = 0,
    cpus_per_worker: float = 1,
    on_event: Subscriber = ignore,
) -> DenoiseReport:
    """Predict the accessibility of an atlas's peaks in a model's cells.

    Killed, the same call goes on with the shards that are missing; finished, it does nothing.

    Parameters
    ----------
    model
        A model, or the URL of its store.
    atlas
        The atlas with the peaks' sequences, or its URL; its cells are not looked at, and more of
        them may be added meanwhile.
    out
        URL of the new result: an AnnData zarr, cells x peaks.
    peaks
        A BED file (every peak of the atlas that overlaps one of its intervals, in the atlas's
        order), or a list of the atlas's peak names; all by default.
    cells
        A text file of cell names, one a line, or a list; all by default. The result keeps the
        list's order.
    genes
        A GTF or GFF3 file: columns are genes in place of peaks, each the mean over the peaks within
        2 kb of its TSS; genes without one are left out.
    scale
        "linear" (``h . W``, sequencing depth left out), "sigmoid" of that, or "probability":
        sigmoid(``h . W + b``). Batch terms are left out on every scale (docs/method.md,
        "Denoising"); `Model.predict` has them.
    dtype
        Of the dense table: "float32"; "float16" (a value within 1 part in 2,048); "uint8", in 256
        steps. A step of a sigmoid or probability is 1/255, the value ``X / 255``, within 1/510. On
        the linear scale the steps divide what a peak's values span over the chosen cells: the value
        is ``X * var["scbasset_scale"] + var["scbasset_offset"]``, within half of that scale.
    dense
        Whether to write the dense table X as well as the factored form, which takes 132 bytes a
        cell and 128 a peak.
    compute
        Arithmetic of the convolutions, as for `load_model`; a `Model` keeps its own. "auto" is
        decided in this process, for all workers.
    workers
        Ray Data actors that share the peaks, then the shards; 0 works in this process. The result
        is the same, bit for bit where as many CPU threads compute.
    gpus_per_worker, cpus_per_worker
        What each worker reserves; a worker embeds on its GPU if it has one.
    on_event
        Hears `Progress` and `Notice`.

    Raises
    ------
    UserInputError
        When peaks, cells, genes, scale, dtype or the atlas's window do not fit, an unfinished job
        of other arguments lies at `out`, or workers could not be had or could not reach what they
        need.
    StoreExistsError
        When anything but this very job's result lies at `out`.
    """
    pool = WorkerPool(workers, cpus_per_worker, gpus_per_worker)
    check_scale(scale)
    if dtype not in DTYPES:
        raise UserInputError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}.")
    source = atlas if isinstance(atlas, Atlas) else Atlas.open(atlas)
    peak_rows = chosen_peaks(source, peaks)
    loaded = as_model(model, compute=compute)
    check_window(loaded.store, source)
    kept, cell_rows = dtype if dense else None, chosen_cells(loaded.obs_names, cells)
    if genes is not None:
        found = denoise_genes(
            loaded,
            source,
            genes=genes,
            out=out,
            peaks=peak_rows,
            cells=cell_rows,
            scale=scale,
            dtype=kept,
            workers=pool,
            on_event=on_event,
        )
        return _of_genes(found)
    work = DenoiseStages(loaded, source, peak_rows, cell_rows, scale, kept, pool)
    was_finished = run_job(out, work.run, identity=work.identity, pool=pool, on_event=on_event)
    return _report(str(out), work, was_finished=was_finished)


def _report(out: str, work: DenoiseStages, *, was_finished: bool) -> DenoiseReport:
    error = Result.open(out).about.get("largest_error")
    return DenoiseReport(
        result=out,
        n_cells=len(work.cells),
        n_peaks=len(work.peaks),
        n_genes=None,
        scale=work.scale,
        dtype=work.dtype,
        dense_bytes=0 if work.plan is None else work.plan.n_bytes,
        largest_error=None if error is None else float(error),
        was_finished=was_finished,
    )


def _of_genes(found: GeneReport) -> DenoiseReport:
    return DenoiseReport(
        result=found.result,
        n_cells=found.n_cells,
        n_peaks=found.n_peaks,
        n_genes=found.n_genes,
        scale=found.scale,
        dtype=found.dtype,
        dense_bytes=found.dense_bytes,
        largest_error=None,
        was_finished=found.was_finished,
    )


def chosen_peaks(atlas: Atlas, peaks: str | Path | Sequence[str] | None) -> NDArray[np.int64]:
    """Return the rows that `peaks` means, as for `denoise`.

    Raises
    ------
    UserInputError
        When one of them is not the atlas's.
    """
    if peaks is None:
        return np.arange(atlas.n_peaks)
    if isinstance(peaks, str | Path):
        return overlapping_rows(atlas.var, read_bed(peaks), name=str(peaks))
    return _some(named_rows(atlas.var.index, peaks, unit="peaks"), "peaks")


def chosen_cells(
    names: pd.Index[str], cells: str | Path | Sequence[str] | None
) -> NDArray[np.int64]:
    """Return the rows that `cells` means among the model's `names`, as for `denoise`.

    Raises
    ------
    UserInputError
        When one of them is not the model's or stands twice, or there are none.
    """
    if cells is None:
        return np.arange(len(names))
    if isinstance(cells, str | Path):
        lines = (line.strip() for _, line in numbered_lines(cells, error=UserInputError))
        cells = [line for line in lines if line]
    return _some(named_rows(names, cells, unit="cells"), "cells")


def _some(rows: NDArray[np.int64], unit: str) -> NDArray[np.int64]:
    if not rows.size:
        raise UserInputError(f"the list of {unit} is empty; leave it out to take all of them.")
    return rows
