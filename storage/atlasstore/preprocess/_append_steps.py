"""The work of `append`, step by step: survey, read, choose cells, write, publish."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from atlasstore.errors import UserInputError
from atlasstore.events import Notice
from atlasstore.files import urls
from atlasstore.inputs.kinds import NEED_PEAKS, files_of, input_kind
from atlasstore.preprocess._append_checks import peak_rows_of, refuse_known
from atlasstore.preprocess._append_settings import AppendReport
from atlasstore.preprocess._inputs import look_at_inputs, read_inputs
from atlasstore.preprocess.filters import choose_cells, filter_counts
from atlasstore.redaction import shown_values
from atlasstore.transpose.block_writer import plan_blocks
from atlasstore.transpose.memory_plan import plan_reads
from atlasstore.transpose.stages import Stages, label_plan
from atlasstore.zarrio import blocks, formats, tables
from atlasstore.zarrio.metadata import DIGEST, digest
from atlasstore.zarrio.tidy import set_aside, stack

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from atlasstore.atlas.atlas import Atlas
    from atlasstore.events import Subscriber
    from atlasstore.preprocess._append_settings import AppendSettings
    from atlasstore.preprocess._inputs import Inputs
    from atlasstore.preprocess.filters import FilterResult, FilterSpec
    from atlasstore.resume.ledger import Ledger
    from atlasstore.resume.units import Executor
    from atlasstore.transpose.memory_plan import LabelPlan
    from atlasstore.transpose.stages import ReadSpan

__all__ = ["AppendSteps"]

_SMALL_BLOCKS = 256
"""From this many blocks on, blocks of less than full size are worth a word."""


class AppendSteps:
    """One call of `append`, its arguments checked.

    Parameters
    ----------
    atlas
        As it is.
    settings
        The resolved arguments.
    spec
        The filter among them.
    executor
        Who reads and writes.
    on_event
        Called with each `Progress` and `Notice`.
    """

    def __init__(
        self,
        atlas: Atlas,
        settings: AppendSettings,
        spec: FilterSpec,
        executor: Executor,
        on_event: Subscriber,
    ) -> None:
        self._atlas, self._settings, self._spec = atlas, settings, spec
        self._executor, self._tell = executor, on_event
        appends: Any = atlas.group.attrs.get("appends", [0, atlas.n_cells])
        self._appends: list[int] = list(appends)

    def plan(self, scratch: str) -> AppendReport:
        """Read and plan; what is in `scratch` afterwards is of no use."""
        inputs = self._survey(scratch)
        reading = plan_reads(self._executor.machine(), len(inputs.peaks))
        found = filter_counts(
            inputs.sources,
            self._spec,
            positives_per_read=reading.positives_per_read,
            on_event=self._tell,
        )
        parts = self._new_parts(found.n_cells)
        labels = self._label_plan(found, parts, len(inputs.peaks), reading.positives_per_read)
        added = inputs.joined_obs(prefixed=True)[np.concatenate(found.cells)]
        report = self._report(inputs, found, added, parts)
        peak = max(reading.peak_bytes, labels.peak_bytes)
        return replace(report, dry_run=True, peak_memory_bytes=peak)

    def make(self, ledger: Ledger) -> AppendReport:
        """Write the new cells and switch the atlas over to them."""
        if (done := self._begun(ledger)) is not None:
            return done
        stages = Stages(ledger, self._executor, self._tell)
        inputs = self._survey(ledger.scratch)
        files = [name for source in inputs.sources for name in files_of(source.spec)]
        inputs, read = read_inputs(
            inputs,
            stages,
            least=self._spec.min_peaks_per_cell,
            files=files,
            skip_bad=self._settings.skip_bad,
            on_event=self._tell,
        )
        rows = peak_rows_of(self._atlas, inputs.peaks, name=inputs.sources[0].name)
        found = self._choose(stages, read, rows >= 0, inputs)
        obs = self._new_obs(inputs, found)
        parts = self._new_parts(found.n_cells)
        positives = self._write_labels(stages, read, rows, parts, found)
        described = stages.descriptions([n for s in inputs.sources for n in files_of(s.spec)])
        report = self._report(inputs, found, obs.iloc[self._atlas.n_cells :], parts)
        ledger.record("report", report.as_json())
        config = self._settings.as_config() | (
            {"left_out": inputs.left_out} if inputs.left_out else {}
        )
        made = formats.provenance(described, config, None, created=ledger.started)
        self._switch(obs, positives, made)
        return report

    def _begun(self, ledger: Ledger) -> AppendReport | None:
        """Note what the atlas was; return the report when all but tidying up is done.

        Raises
        ------
        UserInputError
            When the atlas is no longer what it was.
        """
        before = ledger.receipt("begin") or ledger.record("begin", {"n_cells": self._atlas.n_cells})
        report = ledger.receipt("report")
        if report is not None and self._atlas.n_cells == report["n_cells"]:
            return AppendReport.from_json(report)
        if self._atlas.n_cells != before["n_cells"]:
            raise UserInputError(
                f"{self._atlas.url} had {before['n_cells']:,} cells when this appending began and "
                f"has {self._atlas.n_cells:,} now; delete {ledger.url} and append again."
            )
        return None

    def _survey(self, scratch: str) -> Inputs:
        peaks = self._settings.peaks
        if peaks is None and any(input_kind(s.url) in NEED_PEAKS for s in self._settings.samples):
            peaks = urls.join(scratch, "peaks.bed")
            urls.write_bytes(peaks, _bed(self._atlas.var))
        inputs = look_at_inputs(
            self._settings.samples,
            urls.join(scratch, "inputs"),
            self._executor,
            self._tell,
            peaks=peaks,
            min_mapq=self._settings.min_mapq,
            matrix=self._settings.matrix,
            skip_bad=self._settings.skip_bad,
        )
        peak_rows_of(self._atlas, inputs.peaks, name=inputs.sources[0].name)
        added = inputs.joined_obs(prefixed=True)
        refuse_known(self._atlas, added)
        for sentence in tables.check_writable(added):
            self._tell(Notice(sentence))
        return inputs

    def _choose(
        self, stages: Stages, read: Sequence[ReadSpan], kept: NDArray[np.bool_], inputs: Inputs
    ) -> FilterResult:
        n_open, cells_with_peak = stages.totals(read, len(kept))
        found = choose_cells(
            n_open,
            cells_with_peak,
            kept,
            n_open if kept.all() else stages.kept_depths(read, kept),
            self._spec,
            cells_of_source=inputs.sizes,
        )
        for sentence in found.removed():
            self._tell(Notice(sentence))
        return found

    def _new_obs(self, inputs: Inputs, found: FilterResult) -> pd.DataFrame:
        added = inputs.joined_obs(prefixed=True)[np.concatenate(found.cells)]
        old = self._atlas.obs
        added = set_aside(added, "n_peaks")
        added["n_peaks"] = found.depth
        table = stack([old, added])
        for name in old.columns:
            if isinstance(old[name].dtype, pd.CategoricalDtype):
                table[name] = table[name].astype("category")
        return table

    def _new_parts(self, n_added: int) -> tuple[blocks.CellPart, ...]:
        n_old, size = self._atlas.n_cells, self._atlas.blocks[0].n_cells
        n_blocks = -(-(n_old + n_added) // size)
        if n_blocks >= _SMALL_BLOCKS and size < blocks.MAX_BLOCK_CELLS // 8:
            self._tell(
                Notice(
                    f"The atlas will have {n_blocks:,} blocks of {size:,} cells, as many as when "
                    "it was small; one preprocessed again from all samples would be read faster."
                )
            )
        parts = blocks.plan_parts([*self._appends, n_old + n_added], size)
        return tuple(part for part in parts if part.start >= n_old)

    def _write_labels(
        self,
        stages: Stages,
        read: Sequence[ReadSpan],
        rows: NDArray[np.int32],
        parts: tuple[blocks.CellPart, ...],
        found: FilterResult,
    ) -> list[int]:
        pieces = [piece for span in read for piece in span.pieces]
        tasks = plan_blocks(parts, pieces, kept=np.concatenate(found.cells), rows=rows)
        largest = max(piece.n_positives for piece in pieces)
        return stages.write_labels(tasks, self._label_plan(found, parts, len(rows), largest))

    def _label_plan(
        self,
        found: FilterResult,
        parts: tuple[blocks.CellPart, ...],
        n_peaks_in: int,
        piece_positives: int,
    ) -> LabelPlan:
        starts = [part.start - parts[0].start for part in parts]
        return label_plan(
            self._executor.machine(),
            np.add.reduceat(found.depth, starts).tolist(),
            n_peaks_in=n_peaks_in,
            n_peaks=self._atlas.n_peaks,
            piece_positives=piece_positives,
        )

    def _report(
        self,
        inputs: Inputs,
        found: FilterResult,
        added: pd.DataFrame,
        parts: tuple[blocks.CellPart, ...],
    ) -> AppendReport:
        by_sample = added["sample"].astype(str).value_counts(sort=False)
        return AppendReport(
            atlas=self._atlas.url,
            n_cells_in=found.n_cells_in,
            n_cells_few_peaks=found.n_cells_few_peaks,
            n_cells_emptied=found.n_cells_emptied,
            n_cells_added=found.n_cells,
            n_cells=self._atlas.n_cells + len(added),
            n_positives_added=found.n_positives,
            n_blocks=parts[-1].block + 1,
            samples={str(name): int(count) for name, count in by_sample.items()},
            left_out=inputs.left_out,
            input_bytes=sum(urls.stored_bytes(n) for s in inputs.sources for n in files_of(s.spec)),
        )

    def _switch(self, obs: pd.DataFrame, positives: Sequence[int], made: Mapping[str, Any]) -> None:
        """Write the new table of cells, then replace the group's metadata: the one visible act."""
        atlas, appends = self._atlas, [*self._appends, len(obs)]
        group = urls.open_group(atlas.url, mode="r+", use_consolidated=False)
        name = f"obs_{len(appends) - 2}"
        urls.delete(urls.join(atlas.url, name))  # what a killed process left
        tables.write_table(group, name, obs)
        part_positives = [*atlas.part_positives, *positives]
        parts = blocks.plan_parts(appends, atlas.blocks[0].n_cells)
        provenance = dict(atlas.provenance)
        provenance["appended"] = [*provenance.get("appended", []), shown_values(made)]
        attributes = {
            "format_version": formats.FORMATS[formats.ATLAS],
            "provenance": provenance,
            "n_cells": len(obs),
            "obs": name,
            "appends": appends,
            "part_positives": part_positives,
            "block_positives": _by_block(parts, part_positives),
        }
        new = [name, *(f"labels/{part.index}" for part in parts[-len(positives) :])]
        replace_root(atlas.url, attributes, new)


def replace_root(url: str, attributes: dict[str, Any], new_members: Sequence[str]) -> None:
    """Replace a group's attributes and consolidated metadata by one atomic write.

    Parameters
    ----------
    url
        The group, whose metadata is consolidated.
    attributes
        Those that change.
    new_members
        Groups below it that its consolidated metadata does not list yet.
    """
    place = urls.join(url, "zarr.json")
    root = json.loads(urls.read_bytes(place))
    listed = root["consolidated_metadata"]["metadata"]
    for name in new_members:
        listed |= _metadata_below(url, name)
    root["consolidated_metadata"]["metadata"] = dict(sorted(listed.items()))
    root["attributes"] |= attributes
    root["attributes"][DIGEST] = digest(root)
    urls.write_bytes(place, json.dumps(root, indent=2).encode())


def _metadata_below(url: str, name: str) -> dict[str, Any]:
    fs, path = urls.filesystem(urls.join(url, name))
    fs.invalidate_cache()
    found = {}
    for file in sorted(fs.find(path)):
        below, _, last = str(file).removeprefix(path).strip("/").rpartition("/")
        if last == "zarr.json":
            metadata = json.loads(fs.cat_file(file))
            if metadata["node_type"] == "group":  # as zarr itself lists a group
                empty = {"kind": "inline", "must_understand": False, "metadata": {}}
                metadata["consolidated_metadata"] = empty
            found[f"{name}/{below}".rstrip("/")] = metadata
    return found


def _by_block(parts: Sequence[blocks.CellPart], positives: Sequence[int]) -> list[int]:
    totals = [0] * (parts[-1].block + 1)
    for part, count in zip(parts, positives, strict=True):
        totals[part.block] += count
    return totals


def _bed(var: pd.DataFrame) -> bytes:
    rows = zip(var["chrom"].astype(str), var["start"], var["end"], strict=True)
    return "".join(f"{chrom}\t{start}\t{end}\n" for chrom, start, end in rows).encode()
