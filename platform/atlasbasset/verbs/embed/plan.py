"""The plan of `embed`: cells, variables and bytes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from atlasbasset.batch.executor import WorkerPool
from atlasbasset.verbs.embed.variables import chosen_variables
from atlasbasset.verbs.shared.depth import model_depth_correlation
from atlasbasset.verbs.shared.plan import PlannedModel
from atlasstore.errors import UserInputError
from atlasstore.files import urls
from atlasstore.files.staging import refuse_existing, staged_path
from atlasstore.plans import Plan
from atlasstore.redaction import shown_values
from atlasstore.results.writer import write_anndata
from atlasstore.text_units import count, size
from atlasstore.zarrio import formats
from atlasstore.zarrio.names import EMBEDDING, INTERCEPT, STANDARD_ERROR
from atlasstore.zarrio.tidy import set_aside, tidy

if TYPE_CHECKING:
    from pathlib import Path

    import anndata
    import numpy as np
    from numpy.typing import NDArray

    from atlasbasset.inference.model import Model
    from atlasbasset.verbs.embed.variables import GeneVariables, PeakVariables, Variables
    from atlasstore.atlas.atlas import Atlas
    from atlasstore.events import Subscriber
    from atlasstore.plans import Lines

__all__ = ["EmbedPlan", "plan_embed"]

_STORED_ERRORS = "solve/standard_error"


@dataclass(frozen=True, eq=False, repr=False)
class EmbedPlan(Plan["anndata.AnnData"]):
    """Checked input of `embed`, and its sizes; made by `plan_embed`."""

    model: PlannedModel
    out: str | None
    """None where the cells are returned alone."""
    variables: PeakVariables | GeneVariables | None = None

    @property
    def title(self) -> str:
        """What would be done."""
        return "Would embed the cells" + ("" if self.out is None else f" into {self.out}")

    def lines(self) -> Lines:
        """Return cells, variables and bytes."""
        stored = ("stored", f"at most about {size(self._bytes)}")
        found = self.variables
        columns = [] if found is None else [*found.lines(), ("arithmetic", self.model.arithmetic)]
        cells = ("cells", count(self.model.n_cells))
        return [cells, *columns, *([] if self.out is None else [stored])]

    @property
    def _bytes(self) -> int:
        return self.model.table_bytes + (0 if self.variables is None else self.variables.n_bytes)

    def values(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "out": self.out,
            "n_cells": self.model.n_cells,
            "variables": "none" if self.variables is None else self.variables.unit,
            "n_vars": 0 if self.variables is None else self.variables.n_vars,
            "stored_bytes": 0 if self.out is None else self._bytes,
        }

    def _run(self, on_event: Subscriber) -> anndata.AnnData:
        suffix = None if self.out is None else _checked_out(self.out)
        if self.variables is not None:
            self.model.tell_arithmetic(on_event)
        cells = _annotated(self.model.loaded, self.variables, on_event)
        if self.out is not None and suffix is not None:
            _write(cells, self.out, suffix)
        return cells


def plan_embed(
    model: str | Path | Model,
    *,
    out: str | Path | None = None,
    variables: Variables = "none",
    atlas: str | Path | Atlas | None = None,
    genes: str | Path | None = None,
    workers: int = 0,
    gpus_per_worker: float = 0,
    cpus_per_worker: float = 1,
) -> EmbedPlan:
    """Plan `embed`: check its input and compute its sizes; nothing is written.

    Parameters are those of `embed`, and so are the errors that are raised.

    Examples
    --------
    >>> plan_embed("model.zarr", out="cells.h5ad").as_json()["stored_bytes"]  # doctest: +SKIP
    """
    pool = WorkerPool(workers, cpus_per_worker, gpus_per_worker)
    planned = PlannedModel.of(model)
    if out is not None:
        _checked_out(out)
    chosen = chosen_variables(planned, variables, atlas, genes, pool)
    return EmbedPlan(planned, None if out is None else str(out), chosen)


def _annotated(
    model: Model, variables: PeakVariables | GeneVariables | None, on_event: Subscriber
) -> anndata.AnnData:
    import anndata

    about: dict[str, Any] = {"provenance": json.dumps(shown_values(_provenance(model, variables)))}
    if variables is not None:
        about["X"] = variables.meaning
    if (correlation := model_depth_correlation(model)) is not None:
        about["depth_correlation"] = correlation
    own = set_aside(tidy(model.obs).named, INTERCEPT)
    obs = own.assign(**{INTERCEPT: model.intercept})
    return anndata.AnnData(
        X=None if variables is None else variables.x(model, on_event),
        obs=obs,
        var=None if variables is None else tidy(variables.var()).named,
        obsm={**model.obsm, EMBEDDING: model.cell_embedding, **_standard_errors(model)},
        uns={"scbasset": about},
    )


def _standard_errors(model: Model) -> dict[str, NDArray[np.float32]]:
    """Return the cells' posterior sd, where `map_cells` has stored it."""
    checkpoint = model.store.newest()
    if _STORED_ERRORS not in checkpoint.tables:
        return {}
    return {STANDARD_ERROR: checkpoint.rows(_STORED_ERRORS, 0, model.n_cells)}


def _provenance(model: Model, variables: PeakVariables | GeneVariables | None) -> dict[str, Any]:
    config: dict[str, Any] = {"model": model.url}
    if variables is not None:
        config |= {"variables": variables.unit, "atlas": variables.atlas.url}
    made = formats.provenance([], config, None)
    return {**made, "model": dict(model.store.provenance)}


def _checked_out(out: str | Path) -> str:
    suffix = next((s for s in (".h5ad", ".zarr") if str(out).rstrip("/").endswith(s)), None)
    if suffix is None:
        raise UserInputError(f"{out} ends in neither .h5ad nor .zarr; give one of the two.")
    if suffix == ".h5ad" and not urls.is_local(out):
        raise UserInputError(f"{out} is not a local path; .h5ad is written locally, use .zarr.")
    refuse_existing(out)
    return suffix


def _write(cells: anndata.AnnData, out: str | Path, suffix: str) -> None:
    import anndata

    if suffix == ".zarr":  # anndata writes names as they are
        obs, var = tidy(cells.obs).table, tidy(cells.var).table
        parts = {"obs": obs, "var": var, "obsm": dict(cells.obsm), "uns": cells.uns}
        write_anndata(anndata.AnnData(X=cells.X, **parts), out)
        return
    with staged_path(urls.local_path(out)) as path:
        cells.write_h5ad(path)
