"""`denoise`: predicted accessibility of chosen peaks in chosen cells, as an AnnData zarr."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from atlasbasset.model import Model, Scale, check_scale, opened
from atlasbasset.selection import named_rows
from atlasbasset.verbs.atlas_peaks import check_window, embed_peaks
from atlasstore import formats
from atlasstore.atlas import Atlas
from atlasstore.errors import UserInputError
from atlasstore.events import Progress, ignore
from atlasstore.overlaps import overlapping_rows
from atlasstore.peaks import read_bed
from atlasstore.results import DensePlan, Factors, ResultWriter, plan_dense, write_result
from atlasstore.staging import refuse_existing
from atlasstore.textfiles import numbered_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from atlasstore.events import Subscriber

__all__ = ["DenoiseReport", "denoise"]


@dataclass(frozen=True, slots=True)
class DenoiseReport:
    """What was written."""

    result: str
    """URL of the result."""
    n_cells: int
    n_peaks: int
    scale: str
    dense_bytes: int
    """Size of the dense table before compression; 0 without one."""

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
    scale: Scale = "linear",
    dtype: Literal["float32", "float16"] = "float32",
    dense: bool = True,
    on_event: Subscriber = ignore,
) -> DenoiseReport:
    """Predict the accessibility of an atlas's peaks in a model's cells.

    Parameters
    ----------
    model
        A model, or the URL of its store.
    atlas
        The atlas with the peaks' sequences, or its URL; its cells are not looked at.
    out
        URL of the new result: an AnnData zarr, cells x peaks.
    peaks
        A BED file (every peak of the atlas that overlaps one of its intervals, in the atlas's
        order), or a list of the atlas's peak names; all by default.
    cells
        A text file of cell names, one a line, or a list; all by default. The result keeps the
        list's order.
    scale
        "linear" (``h . W``, sequencing depth left out), "sigmoid" of that, or "probability" (with
        intercept and batch terms); see `Model.predict`.
    dtype
        Of the dense table.
    dense
        Whether to write the dense table X as well as the factored form, which takes 132 bytes a
        cell and 128 a peak.
    on_event
        Hears `Progress`.

    Raises
    ------
    UserInputError
        When peaks, cells, scale or dtype do not fit.
    StoreExistsError
        When anything lies at `out`.
    """
    refuse_existing(out)
    check_scale(scale)
    if dtype not in ("float32", "float16"):
        raise UserInputError(f"dtype must be float32 or float16, got {dtype!r}.")
    loaded, source = opened(model), atlas if isinstance(atlas, Atlas) else Atlas.open(atlas)
    check_window(loaded, source)
    peak_rows, cell_rows = _peak_rows(source, peaks), _cell_rows(loaded, cells)
    plan = plan_dense(len(cell_rows), len(peak_rows), dtype=dtype) if dense else None
    h = embed_peaks(loaded, source, peak_rows, on_event=on_event)
    with write_result(
        out,
        _factors(loaded, source, h, peak_rows, cell_rows),
        dense=plan,
        about={"scale": scale, **_batch_terms(loaded)},
        provenance=_provenance(loaded, source, scale),
    ) as writer:
        if plan is not None:
            _write_dense(writer, plan, loaded, h, cell_rows, scale, on_event)
    n_bytes = 0 if plan is None else plan.n_bytes
    return DenoiseReport(str(out), len(cell_rows), len(peak_rows), scale, n_bytes)


def _write_dense(
    writer: ResultWriter,
    plan: DensePlan,
    model: Model,
    h: NDArray[np.float32],
    cells: NDArray[np.int64],
    scale: Scale,
    on_event: Subscriber,
) -> None:
    for start, stop in plan.shards():
        values = model.predict_embedded(h, cells[start:stop], scale=scale).T
        if plan.dtype == "float16" and np.abs(values).max() > np.finfo(np.float16).max:
            raise UserInputError(
                f"a prediction of {np.abs(values).max():g} does not fit float16; use float32."
            )
        writer.write(start, values.astype(plan.dtype))
        on_event(Progress("writing predictions", stop, len(cells), "cells"))


def _peak_rows(atlas: Atlas, peaks: str | Path | Sequence[str] | None) -> NDArray[np.int64]:
    if peaks is None:
        return np.arange(atlas.n_peaks)
    if isinstance(peaks, str | Path):
        return overlapping_rows(atlas.var, read_bed(peaks), name=str(peaks))
    return _some(named_rows(atlas.var.index, peaks, unit="peaks"), "peaks")


def _cell_rows(model: Model, cells: str | Path | Sequence[str] | None) -> NDArray[np.int64]:
    if cells is None:
        return np.arange(model.n_cells)
    if isinstance(cells, str | Path):
        lines = (line.strip() for _, line in numbered_lines(cells, error=UserInputError))
        cells = [line for line in lines if line]
    return _some(named_rows(model.obs_names, cells, unit="cells"), "cells")


def _some(rows: NDArray[np.int64], unit: str) -> NDArray[np.int64]:
    if not rows.size:
        raise UserInputError(f"the list of {unit} is empty; leave it out to take all of them.")
    return rows


def _factors(
    model: Model,
    atlas: Atlas,
    h: NDArray[np.float32],
    peaks: NDArray[np.int64],
    cells: NDArray[np.int64],
) -> Factors:
    return Factors(
        obs=model.obs.iloc[cells],
        var=atlas.var.iloc[peaks],
        cell_embedding=model.cell_embedding[cells],
        intercept=model.intercept[cells],
        sequence=h,
    )


def _batch_terms(model: Model) -> dict[str, Any]:
    """Return what the factored form needs besides for probabilities of a batch-corrected model."""
    if model.batch is None:
        return {}
    return {
        "batches": np.array(model.batches),
        "batch_embedding": model.batch_embedding,
        "batch_intercept": model.batch_intercept,
    }


def _provenance(model: Model, atlas: Atlas, scale: str) -> dict[str, Any]:
    config = {"model": model.url, "atlas": atlas.url, "scale": scale}
    made = formats.provenance([], config, None)
    return {
        **made,
        "model": dict(model.store.provenance),
        "atlas": dict(atlas.provenance),
    }
