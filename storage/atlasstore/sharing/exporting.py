"""Parts of a result as files that other programs read: h5ad, Parquet, TSV, CSV.

Values are read or predicted band by band and written as they come: memory holds one band and the
tables of names, however large the part is.
"""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from atlasstore.errors import UserInputError
from atlasstore.events import Progress
from atlasstore.files import urls
from atlasstore.files.staging import refuse_existing, staged_file
from atlasstore.files.table_file import SUFFIXES, written_table
from atlasstore.inspect_store import open_store
from atlasstore.plans import Plan
from atlasstore.results.reader import AXES
from atlasstore.results.result import Result
from atlasstore.sharing.encoded import without_encoding
from atlasstore.sharing.selection import chosen_columns, chosen_rows
from atlasstore.sharing.values import Values
from atlasstore.text_units import count, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import h5py
    import numpy as np
    from numpy.typing import NDArray

    from atlasstore.events import Subscriber
    from atlasstore.files.table_file import ColumnType
    from atlasstore.plans import Lines

__all__ = ["ExportPlan", "ExportReport", "export_result", "plan_export"]

_H5AD = ".h5ad"
_MOST_COLUMNS = 10_000
"""Of a Parquet or text table: programs that read them fail, or crawl, on more."""
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was exported."""

    result: str
    out: str
    n_rows: int
    n_columns: int
    stored_bytes: int

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


@dataclass(frozen=True, eq=False, repr=False)
class ExportPlan(Plan[ExportReport]):
    """Checked input of `export_result`; made by `plan_export`."""

    part: Values
    out: str

    @property
    def title(self) -> str:
        """What would be done."""
        return f"Would export a part of {self._result.url} to {self.out}"

    @property
    def _result(self) -> Result:
        return self.part.result

    @property
    def _axes(self) -> tuple[str, str]:
        return AXES.get(self._result.kind, ("rows", "columns"))

    def lines(self) -> Lines:
        """Return rows, columns and bytes."""
        rows, columns = self._axes
        chosen = self.part
        how = "as stored" if chosen.is_stored else "predicted from factors"
        how = "decoded" if chosen.is_decoded else how
        return [
            (rows, f"{count(len(chosen.rows))} of {count(self._result.n_obs)}"),
            (columns, f"{count(len(chosen.columns))} of {count(self._result.n_vars)}"),
            ("values", f"{size(chosen.n_bytes)} in {chosen.dtype}, {how}"),
        ]

    def values(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "result": self._result.url,
            "out": self.out,
            "n_rows": len(self.part.rows),
            "n_columns": len(self.part.columns),
            "partbytes": self.part.n_bytes,
        }

    def _run(self, on_event: Subscriber) -> ExportReport:
        write = _write_h5ad if self.out.lower().endswith(_H5AD) else _write_table
        write(self.part, self.out, on_event, self._axes[0])
        return ExportReport(
            self._result.url,
            self.out,
            len(self.part.rows),
            len(self.part.columns),
            urls.stored_bytes(self.out),
        )


def export_result(
    result: str | Path,
    *,
    out: str | Path,
    cells: str | Path | Sequence[str] | None = None,
    where: Sequence[str] = (),
    peaks: Sequence[str] = (),
    layer: str | None = None,
    decoded: bool = False,
    on_event: Subscriber | None = None,
) -> ExportReport:
    """Write a part of a result as a file, or all of it.

    Parameters
    ----------
    result
        Path or URL of a result of any kind.
    out
        The file, at a path or URL: ``.h5ad``, ``.parquet``, ``.tsv``, ``.csv`` (also ``.gz``).
        Tables have a row per row of the result, the first column its name.
    cells
        A file with a name a line, or names, of rows: cells, regions or variants. All by default.
    where
        Labels that rows must have, each ``COLUMN=VALUE``; of several for one column any will do.
    peaks
        Columns: names, regions ``chrom:start-end``, BED files, or files with a name a line. All by
        default.
    layer
        A table of layers in place of X.
    decoded
        Give values that are stored in 256 steps (``denoise(dtype="uint8")``) as numbers, float32;
        others are as they are.
    on_event
        Called with `Progress`; by default a bar is shown on a terminal or in a notebook.

    Examples
    --------
    >>> export_result(
    ...     "s3://lab/denoised.zarr", out="t.h5ad", where=["cell_type=T"]
    ... )  # doctest: +SKIP

    Raises
    ------
    UserInputError
        It is no result, something chosen is not in it, or the file cannot be written so.
    """
    plan = plan_export(
        result, out=out, cells=cells, where=where, peaks=peaks, layer=layer, decoded=decoded
    )
    return plan.run(on_event=on_event)


def plan_export(
    result: str | Path,
    *,
    out: str | Path,
    cells: str | Path | Sequence[str] | None = None,
    where: Sequence[str] = (),
    peaks: Sequence[str] = (),
    layer: str | None = None,
    decoded: bool = False,
) -> ExportPlan:
    """Check what `export_result` would write; parameters are those of `export_result`.

    Examples
    --------
    >>> print(plan_export("denoised.zarr", out="part.tsv", peaks=["chr1:1-900"]))  # doctest: +SKIP
    """
    store = open_store(result)
    if not isinstance(store, Result):
        raise UserInputError(
            f"{result} is no result; export takes what denoise, motifs, ism or variants wrote "
            "(embed writes the cells of a model, or an atlas's labels with --variables peaks)."
        )
    rows, columns = AXES.get(store.kind, ("rows", "columns"))
    chosen = Values(
        store,
        chosen_rows(store.obs, cells, where, unit=rows),
        chosen_columns(store.var, peaks, unit=columns),
        layer,
        decoded,
    )
    _check_file(str(out), len(chosen.columns))
    refuse_existing(out)
    return ExportPlan(chosen, str(out))


def _check_file(out: str, n_columns: int) -> None:
    name = out.lower()
    if name.endswith(_H5AD):
        return
    if not name.endswith(SUFFIXES):
        known = ", ".join((_H5AD, *SUFFIXES))
        raise UserInputError(f"{out} ends in none of {known}; name a file of one of these kinds.")
    if n_columns > _MOST_COLUMNS:
        raise UserInputError(
            f"a table of {n_columns:,} columns is too wide; choose at most {_MOST_COLUMNS:,} (by "
            "peaks), or write .h5ad."
        )


def _told(
    values: Values, on_event: Subscriber, unit: str
) -> Iterator[tuple[slice, NDArray[np.generic]]]:
    """Yield the bands, and tell how far they are."""
    total = len(values.rows)
    on_event(Progress("exporting", 0, total, unit))
    done = 0
    for first, band in values.bands():
        stop = first + len(band)
        yield slice(first, stop), band
        done += band.nbytes
        on_event(Progress("exporting", stop, total, unit, done))


def _write_table(values: Values, out: str, on_event: Subscriber, unit: str) -> None:
    names = values.result.obs.index[values.rows]
    header = [str(name) for name in values.result.var.index[values.columns]]
    first = "name" if "name" not in header else "row_name"
    kind: ColumnType = "float32" if values.dtype.kind == "f" else "int64"
    with written_table(out, {first: "text", **dict.fromkeys(header, kind)}) as table:
        for where, band in _told(values, on_event, unit):
            rows = pd.DataFrame(band, columns=header)
            rows.insert(0, first, names[where].astype(str))
            table.add(rows)
            table.flush()


def _write_h5ad(values: Values, out: str, on_event: Subscriber, unit: str) -> None:
    """Write an AnnData: tables of names whole, all that has a row for each row band by band."""
    import h5py

    with staged_file(out) as path, h5py.File(path, "w") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anndata's, of names of columns as they are
        _write_outline(file, values)
        target = _dataset(file, "X", (len(values.rows), len(values.columns)), values.dtype)
        for where, band in _told(values, on_event, unit):
            target[where] = band
        for name in values.result.tables:
            if name.startswith("obsm/"):
                _write_rows(file, values, name)


def _write_outline(file: h5py.File, values: Values) -> None:
    import anndata

    result = values.result
    file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
    var = result.var.iloc[values.columns]
    about = {name: value for name, value in result.about.items() if name != "shards"}
    if values.is_decoded:
        var, about = without_encoding(var, about)
    parts: dict[str, Any] = {
        "obs": result.obs.iloc[values.rows],
        "var": var,
        "uns": {"scbasset": about},
        "varm": {
            name.partition("/")[2]: result.rows(name)[values.columns]
            for name in result.tables
            if name.startswith("varm/")
        },
        **{name: {} for name in ("obsm", "layers", "obsp", "varp")},
    }
    for name, value in parts.items():
        anndata.io.write_elem(file, name, value)


def _write_rows(file: h5py.File, values: Values, name: str) -> None:
    """Write the chosen rows of a table of obsm, a chunk's worth of stored rows at a time."""
    table = values.result.table(name)
    target = _dataset(file, name, (len(values.rows), *table.shape[1:]), table.dtype)
    step = int((table.shards or table.chunks)[0])
    for first in range(0, table.shape[0], step):
        start, stop = (int(at) for at in values.rows.searchsorted([first, first + step]))
        if stop > start:
            chosen = values.rows[start:stop]
            low, high = int(chosen[0]), int(chosen[-1]) + 1
            target[start:stop] = values.result.rows(name, low, high)[chosen - low]


def _dataset(
    file: h5py.File, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> h5py.Dataset:
    row_bytes = max(1, dtype.itemsize)
    for length in shape[1:]:
        row_bytes *= max(1, length)
    rows = max(1, min(shape[0], _CHUNK_BYTES // row_bytes))
    made = file.create_dataset(name, shape, dtype, chunks=(rows, *shape[1:]))
    made.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    return made
