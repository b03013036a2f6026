"""The plan of `differential`: which cells are compared, and on what."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from atlasbasset.inference.cell_labels import cell_labels
from atlasbasset.inference.groups import group_labels
from atlasbasset.verbs.differential.activities import MOTIF_COLUMNS, test_motifs
from atlasbasset.verbs.differential.design import REST, contrasts_of, design_of, make_bins
from atlasbasset.verbs.differential.peaks import PEAK_COLUMNS, count_open, test_peaks
from atlasbasset.verbs.differential.report import DifferentialReport, GroupFound
from atlasbasset.verbs.shared.atlas_peaks import check_window, embed_peaks
from atlasbasset.verbs.shared.plan import PlannedModel, notice_lines
from atlasbasset.verbs.shared.same_cells import check_same_cells
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import UserInputError
from atlasstore.events import Notice
from atlasstore.files import urls
from atlasstore.files.staging import refuse_existing
from atlasstore.files.table_file import SUFFIXES, written_table
from atlasstore.plans import Plan
from atlasstore.results.result import Result
from atlasstore.text_units import count, size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from atlasbasset.core.compute import Compute, ConvolutionChoice
    from atlasbasset.inference.cell_labels import CellLabels, Obs
    from atlasbasset.inference.model import Model
    from atlasbasset.verbs.differential.design import Contrast
    from atlasstore.events import Subscriber
    from atlasstore.files.table_file import TableFile
    from atlasstore.plans import Lines

__all__ = ["DifferentialPlan", "plan_differential"]

_MAX_VALUES = 100
"""Different values of a covariate; more are taken for a number."""
_DEPTH_PEAKS = 2048
"""Peaks whose mean embedding stands for all where only depth is wanted of them."""
_FIRST = 5
_CELLS_ALONE = (
    "Without shuffled motifs p-values know the draw of cells alone, and nearly every motif "
    "differs; give shuffled: what motifs made with --shuffled 10."
)
_LEAST_COPIES = 3
_DISCOVERY = 0.05
_COUNT_BYTES = 4


@dataclass(frozen=True, eq=False, repr=False)
class DifferentialPlan(Plan[DifferentialReport]):
    """Checked input of `differential`; made by `plan_differential`."""

    model: PlannedModel
    atlas: Atlas
    activity: Result | None
    """TF activity, where motifs are tested and not peaks."""
    shuffled: Result | None
    """Activity of shuffled copies of the motifs, which they are held to."""
    labels: CellLabels
    covariates: tuple[CellLabels, ...]
    contrasts: tuple[Contrast, ...]
    min_cells: int
    out: str

    @property
    def title(self) -> str:
        """What would be done."""
        return f"Would compare {self.unit} between groups of {self.labels.key!r} into {self.out}"

    @property
    def unit(self) -> str:
        """What a row is of."""
        return "peaks" if self.activity is None else "motifs"

    @property
    def n_tests(self) -> int:
        """Tests of a contrast at most."""
        return self.atlas.n_peaks if self.activity is None else self.activity.n_vars

    @property
    def scratch_bytes(self) -> int:
        """What the counts of open cells take in a temporary file."""
        n_bins = len(make_bins(self.labels, self.covariates, self._no_depth, self.contrasts))
        return 0 if self.activity else _COUNT_BYTES * self.atlas.n_peaks * n_bins

    @property
    def _no_depth(self) -> NDArray[np.float64]:
        return np.zeros(self.atlas.n_cells)

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(one.key for one in self.covariates)

    @cached_property
    def _values(self) -> NDArray[np.int64]:
        columns = [one.codes for one in self.covariates]
        return np.stack(columns, axis=1) if columns else np.empty((self.atlas.n_cells, 0), np.int64)

    def lines(self) -> Lines:
        """Return groups, covariates and sizes."""
        compared = [f"{one.group} against {one.reference}" for one in self.contrasts]
        shown = ", ".join(compared[:8]) + (", ..." if len(compared) > 8 else "")
        return [
            ("groups", f"{count(len(compared))}: {shown}"),
            ("covariates", ", ".join(("depth", *self._names))),
            (self.unit, count(self.n_tests)),
            ("rows", count(self.n_tests * len(compared))),
            *([] if self.activity else [("temporary file", size(self.scratch_bytes))]),
            *notice_lines("left out", self.labels.notice()),
        ]

    def values(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "out": self.out,
            "groups": [one.group for one in self.contrasts],
            "references": [one.reference for one in self.contrasts],
            "covariates": list(self._names),
            f"n_{self.unit}": self.n_tests,
            "scratch_bytes": self.scratch_bytes,
        }

    def _run(self, on_event: Subscriber) -> DifferentialReport:
        refuse_existing(self.out)
        for one in (self.labels, *self.covariates):
            if sentence := one.notice():
                on_event(Notice(sentence))
        if self.activity is None:
            return self._compare_peaks(on_event)
        return self._compare_motifs(self.activity, on_event)

    def _compare_peaks(self, on_event: Subscriber) -> DifferentialReport:
        model, atlas = self.model.loaded, self.atlas
        rows = np.arange(atlas.n_peaks)
        h = embed_peaks(model, atlas, rows, on_event=on_event)
        if model.deviations is not None and model.deviations.fit(atlas.var):
            h += model.deviations.deviation
        mean = h.mean(axis=0, dtype=np.float64)
        bins = make_bins(self.labels, self.covariates, _depth(model, mean), self.contrasts)
        with (
            tempfile.TemporaryDirectory(prefix="atlasbasset-") as made,
            written_table(self.out, PEAK_COLUMNS) as table,
        ):
            counts = count_open(atlas, bins, Path(made, "counts"), on_event=on_event)
            found = []
            for one in self.contrasts:
                tested = test_peaks(
                    one, counts, bins, self._names, min_cells=self.min_cells, on_event=on_event
                )
                difference = self._difference(one, model.cell_embedding)
                by_model = (h - mean) @ difference
                tested["model_effect"] = by_model - np.median(by_model)
                self._add(table, one, self._peaks(), tested, PEAK_COLUMNS)
                found.append(self._found(one, tested, atlas.var.index, tested.attrs["typical"]))
            del counts  # the file is gone when the block ends
        return DifferentialReport(self.out, self.unit, len(bins), tuple(found))

    def _peaks(self) -> pd.DataFrame:
        var = self.atlas.var
        named = var[["chrom", "start", "end"]].astype({"chrom": str})
        return named.assign(peak=var.index.astype(str)).reset_index(drop=True)

    def _difference(self, one: Contrast, embedding: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the mean embedding of the group less that of its reference, (E,)."""
        side = one.side(self.labels.codes)
        group, reference = embedding[side == 1], embedding[side == 0]
        return np.asarray(group.mean(0, dtype=np.float64) - reference.mean(0, dtype=np.float64))

    def _compare_motifs(self, activity: Result, on_event: Subscriber) -> DifferentialReport:
        model, atlas = self.model.loaded, self.atlas
        if self.shuffled is None:
            on_event(Notice(_CELLS_ALONE))
        sample = np.linspace(0, atlas.n_peaks - 1, min(_DEPTH_PEAKS, atlas.n_peaks)).astype(int)
        h = embed_peaks(model, atlas, np.unique(sample), on_event=on_event)
        depth = _depth(model, h.mean(axis=0, dtype=np.float64))
        tables = test_motifs(
            self.contrasts,
            activity,
            self.labels.codes,
            self._values,
            depth,
            self._names,
            shuffled=self.shuffled,
            on_event=on_event,
        )
        var = activity.var
        named = var[["tf", "motif"]].astype(str).reset_index(drop=True)
        with written_table(self.out, MOTIF_COLUMNS) as table:
            for one, tested in zip(self.contrasts, tables, strict=True):
                self._add(table, one, named, tested, MOTIF_COLUMNS)
        found = [
            self._found(one, tested, named["tf"], None)
            for one, tested in zip(self.contrasts, tables, strict=True)
        ]
        return DifferentialReport(self.out, self.unit, 0, tuple(found))

    @staticmethod
    def _add(
        table: TableFile,
        one: Contrast,
        named: pd.DataFrame,
        tested: pd.DataFrame,
        columns: Sequence[str] | dict[str, Any],
    ) -> None:
        rows = named.join(tested).assign(group=one.group, reference=one.reference)
        table.add(rows[list(columns)])

    def _found(
        self, one: Contrast, tested: pd.DataFrame, names: Any, typical: float | None
    ) -> GroupFound:
        side = one.side(self.labels.codes)
        is_found = tested["q"] < _DISCOVERY
        higher = np.flatnonzero(is_found & (tested["effect"] > 0))
        first = higher[np.argsort(tested["p"].to_numpy()[higher], kind="stable")[:_FIRST]]
        return GroupFound(
            group=one.group,
            reference=one.reference,
            n_cells=int((side == 1).sum()),
            n_reference=int((side == 0).sum()),
            n_tested=int(tested["p"].notna().sum()),
            n_higher=len(higher),
            n_lower=int(is_found.sum()) - len(higher),
            typical=typical,
            first=tuple(str(name) for name in np.asarray(names)[first]),
        )


def _depth(model: Model, mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each cell's logit at the mean peak: its intercept, whatever the embeddings' origin."""
    embedding, intercept = model.table()
    return np.asarray(embedding @ mean + intercept, dtype=np.float64)


def plan_differential(
    model: str | Path | Model,
    atlas: str | Path | Atlas,
    *,
    group_by: str,
    out: str | Path,
    groups: Sequence[str] | None = None,
    reference: str = REST,
    covariates: Sequence[str] = (),
    motifs: str | Path | Result | None = None,
    shuffled: str | Path | Result | None = None,
    obs: Obs | None = None,
    min_cells: int = 10,
    compute: Compute = "fp32",
    convolution: ConvolutionChoice = "auto",
) -> DifferentialPlan:
    """Plan `differential`: check its input; nothing is written.

    Parameters are those of `differential`, and so are the errors that are raised.

    Examples
    --------
    >>> print(plan_differential("model.zarr", "atlas.zarr", group_by="cell_type",
    ...                         out="peaks.tsv"))  # doctest: +SKIP
    """
    refuse_existing(out)
    if not urls.path_end(out).endswith(SUFFIXES):
        raise UserInputError(f"{out} ends in none of {', '.join(SUFFIXES)}; name the table so.")
    if min_cells < 1:
        raise UserInputError(f"min_cells must be 1 or more, got {min_cells}.")
    cells = atlas if isinstance(atlas, Atlas) else Atlas.open(atlas)
    planned = PlannedModel.of(model, compute=compute, convolution=convolution)
    check_same_cells(planned.store, cells)
    check_window(planned.store, cells)
    table = planned.store.obs
    labels = group_labels(table, group_by, obs=obs, what=planned.url)
    if labels is None:
        raise UserInputError("name the column whose groups are compared (group_by).")
    others = tuple(_covariate(table, key, group_by, obs, planned.url) for key in covariates)
    contrasts = tuple(contrasts_of(labels, groups, reference))
    activity = None if motifs is None else _activity(motifs, planned)
    copies = None if shuffled is None else _copies(shuffled, activity, planned)
    plan = DifferentialPlan(
        planned, cells, activity, copies, labels, others, contrasts, min_cells, str(out)
    )
    for one in contrasts:  # refuses covariates that tell groups apart
        design_of(one, labels.codes, plan._values, plan._no_depth, plan._names)
    return plan


def _covariate(
    table: pd.DataFrame, key: str, group_by: str, obs: Obs | None, what: str
) -> CellLabels:
    if key == group_by:
        raise UserInputError(f"{key!r} is what is compared, not a covariate; leave it out.")
    found = cell_labels(table, key, obs=obs, what=what)
    if len(found.names) > _MAX_VALUES:
        raise UserInputError(
            f"covariate {key!r} has {len(found.names):,} different values (at most {_MAX_VALUES}); "
            "give a column of categories, such as donors. Depth is accounted for already."
        )
    return found


def _activity(motifs: str | Path | Result, model: PlannedModel) -> Result:
    found = motifs if isinstance(motifs, Result) else Result.open(motifs)
    if found.kind != "tf_activity":
        raise UserInputError(
            f"{found.url} is {found.kind}, not TF activity; give what motifs made."
        )
    if not np.array_equal(np.asarray(found.obs.index), np.asarray(model.store.obs.index)):
        raise UserInputError(
            f"{found.url} is of other cells than {model.url}; make it again from this model."
        )
    return found


def _copies(shuffled: str | Path | Result, motifs: Result | None, model: PlannedModel) -> Result:
    if motifs is None:
        raise UserInputError("shuffled motifs are what motifs are held to; give the motifs, too.")
    found = _activity(shuffled, model)
    n_copies = pd.Series(
        [str(name).rpartition("~")[0] for name in found.var["motif"]]
    ).value_counts()
    n_of = n_copies.reindex(motifs.var["motif"].astype(str), fill_value=0)
    if n_of.min() < _LEAST_COPIES:
        raise UserInputError(
            f"{found.url} has {n_of.min()} shuffled copies of motif {n_of.idxmin()} (at least "
            f"{_LEAST_COPIES}); make it from the same motifs with --shuffled 10."
        )
    return found
