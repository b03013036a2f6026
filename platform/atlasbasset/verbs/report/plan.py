"""`plan_report`: what a report would read and show."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from atlasbasset.batch.executor import WorkerPool
from atlasbasset.verbs.report.findings.activity import check_tfs
from atlasbasset.verbs.report.findings.cells import Keys, read_keys
from atlasbasset.verbs.report.findings.findings import gather
from atlasbasset.verbs.report.findings.loci import named_loci
from atlasbasset.verbs.report.given import Given, sorted_stores
from atlasbasset.verbs.report.options import ReportOptions
from atlasbasset.verbs.report.page.page import GENERATOR, check_extra, page_of
from atlasbasset.verbs.shared.plan import workers_in_full
from atlasstore.errors import NotAStoreError, StoreExistsError, UserInputError
from atlasstore.files import urls
from atlasstore.plans import Plan
from atlasstore.text_units import count

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from atlasbasset.inference.cell_labels import Obs
    from atlasbasset.inference.model import Model
    from atlasstore.atlas.atlas import Atlas
    from atlasstore.events import Subscriber
    from atlasstore.plans import Lines

__all__ = ["ReportPlan", "ReportWritten", "plan_report"]

_LOOKED_AT = 4_096
"""First bytes of a file that say whether it is a report of ours."""


@dataclass(frozen=True, slots=True)
class ReportWritten:
    """What was written."""

    out: str
    """URL of the page."""
    n_bytes: int
    n_cells: int
    """Cells shown."""
    n_figures: int
    warnings: tuple[str, ...]
    """Checks that did not pass, in words."""
    missing: tuple[str, ...]
    """Parts that are left out, in words."""

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {**asdict(self), "warnings": list(self.warnings), "missing": list(self.missing)}


@dataclass(frozen=True, eq=False, repr=False)
class ReportPlan(Plan[ReportWritten]):
    """Checked input of `report`; made by `plan_report`."""

    given: Given
    keys: Keys
    options: ReportOptions
    page_title: str
    out: str

    @property
    def title(self) -> str:
        """What would be done."""
        return f"Would write a report on {self.given.model.url} to {self.out}"

    @property
    def n_cells(self) -> int:
        """Cells that are shown."""
        return min(self.given.model.n_cells, self.options.max_cells)

    def lines(self) -> Lines:
        """Return stores and cells."""
        n_all = self.given.model.n_cells
        of_them = "" if self.n_cells == n_all else f" of {count(n_all)}, drawn with a seed"
        named = (("labels", self.keys.label), ("batches", self.keys.batch))
        return [
            ("reads", ", ".join(self.given.urls)),
            ("cells shown", f"{count(self.n_cells)}{of_them}"),
            ("workers", workers_in_full(self.options.pool)),
            *((name, f"{one.key}, {len(one.names)}") for name, one in named if one is not None),
            *(("note", sentence) for sentence in self.keys.notices),
        ]

    def values(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"out": self.out, "stores": self.given.urls, "n_cells": self.n_cells}

    def _run(self, on_event: Subscriber) -> ReportWritten:
        with self.options.pool.session(on_event):
            found = gather(self.given, self.keys, self.options, on_event)
        page = page_of(found, title=self.page_title)
        content = page.html.encode()
        urls.write_bytes(self.out, content)
        return ReportWritten(
            out=self.out,
            n_bytes=len(content),
            n_cells=len(found.cells.rows),
            n_figures=page.n_figures,
            warnings=tuple(c.says for c in found.checks if c.verdict == "warning"),
            missing=page.missing,
        )


def plan_report(
    model: str | Path | Model,
    *stores: str | Path | Atlas,
    out: str | Path,
    label_key: str | None = None,
    batch_key: str | None = None,
    obs: Obs | None = None,
    tfs: Sequence[str] = (),
    loci: Sequence[str] = (),
    title: str | None = None,
    max_cells: int = 20_000,
    max_peaks: int = 2_000,
    seed: int = 0,
    workers: int = 0,
    gpus_per_worker: float = 0,
    cpus_per_worker: float = 1,
) -> ReportPlan:
    """Plan `report`: check its input; nothing is computed.

    Parameters are those of `report`, and so are the errors that are raised.

    Examples
    --------
    >>> print(plan_report("model.zarr", "atlas.zarr", out="report.html"))  # doctest: +SKIP
    """
    check_extra()
    options = ReportOptions(
        label_key=label_key,
        batch_key=batch_key,
        obs=obs,
        tfs=tuple(tfs),
        loci=tuple(loci),
        max_cells=max_cells,
        max_peaks=max_peaks,
        seed=seed,
        pool=WorkerPool(workers, cpus_per_worker, gpus_per_worker),
    )
    _check_out(out)
    given = sorted_stores(model, stores)
    _check_tfs(given, options.tfs)
    named_loci(given.tracks, options.loci)
    keys = read_keys(given.model.store, options)
    heading = title or f"What {_base_name(given.model.url)} learned"
    return ReportPlan(given, keys, options, heading, str(out))


def _base_name(url: str) -> str:
    return url.rstrip("/").rsplit("/", 1)[-1]


def _check_tfs(given: Given, tfs: Sequence[str]) -> None:
    if tfs and given.activity is None:
        raise UserInputError(
            f"TF {tfs[0]} is to be shown, but no result of motifs was given; add one, or leave the "
            "TFs out."
        )
    if given.activity is not None:
        check_tfs(given.activity, tfs)


def _check_out(out: str | Path) -> None:
    """Refuse to write over anything but an earlier report."""
    if not str(out).endswith((".html", ".htm")):
        raise UserInputError(f"{out} does not end in .html, but a report is a page; name it so.")
    if not urls.exists(out):
        return
    try:
        is_ours = GENERATOR.encode() in urls.read_bytes(out)[:_LOOKED_AT]
    except NotAStoreError:
        is_ours = False
    if not is_ours:
        raise StoreExistsError(
            f"{out} exists and is no report of atlasbasset; give another --out, or delete it first."
        )
