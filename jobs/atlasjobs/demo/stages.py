"""The demo, stage by stage; a stage whose output exists is skipped.

Every stage is reported with the equivalent command, for a user's own data.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import anndata

import atlasbasset
import atlasstore
from atlasjobs.demo.commands import MUTATED_BP, DemoCommands
from atlasjobs.demo.picture import save_picture
from atlasjobs.demo.result import DemoResult
from atlasjobs.demo.settings import DemoFolder, DemoSettings
from atlasjobs.demo.truth import (
    activity_agreement,
    denoising_agreement,
    most_varied_peaks,
    site_agreement,
    start_label_scores,
    truth_ceiling,
)
from atlasjobs.output import json_output
from atlasstore.errors import MissingExtraError
from atlasstore.events import Notice
from atlasstore.files import urls
from atlasstore.results.ism_result import IsmResult
from atlasstore.text_units import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from atlasbasset.verbs.evaluate import Evaluation
    from atlasbasset.verbs.train.report import TrainReport
    from atlasjobs.output.console import Output
    from atlasstore.events import Subscriber

__all__ = ["run_demo"]

_N_STAGES = 10


def run_demo(out: str, settings: DemoSettings, output: Output) -> DemoResult:
    """Run what is missing of the demo in the folder `out`; compare with the truth.

    Raises
    ------
    StoreExistsError
        `out` exists and is not this demo.
    """
    folder = DemoFolder.claim(out, settings)
    demo = _Demo(folder, settings, output)
    result = demo.run()
    began = time.monotonic()
    _write(folder, result)
    _tell(result, folder, output)
    _tell_times({**demo.seconds, "picture": time.monotonic() - began}, output)
    return result


@dataclass(slots=True)
class _Demo:
    folder: DemoFolder
    settings: DemoSettings
    output: Output
    seconds: dict[str, float] = field(default_factory=dict)

    def run(self) -> DemoResult:
        """Run the stages in order."""
        where, settings = self.folder, self.settings
        told = DemoCommands(where, settings)
        self._make("simulate", told.simulate, where.simulated, self._simulate)
        self._make("preprocess", told.preprocess, where.atlas, self._preprocess)
        trained = self._stage("train", told.train, self._train)
        self._make("embed", told.embed, where.cells, self._embed)
        evaluation = self._stage("evaluate", told.evaluate, self._evaluate)
        self._make("denoise", told.denoise, where.denoised, self._denoise)
        self._make("motifs", told.motifs, where.activity, self._motifs)
        peaks = most_varied_peaks(anndata.read_zarr(where.denoised), settings.n_mutated_peaks)
        self._make("ism", told.ism(peaks), where.ism, partial(self._ism, peaks))
        self._make("tracks", told.tracks, where.tracks, self._tracks)
        self._make("report", told.report, where.report, self._report)
        return self._compare(trained, evaluation)

    def _compare(self, trained: TrainReport, evaluation: Evaluation) -> DemoResult:
        where, began = self.folder, time.monotonic()
        atlas = atlasstore.Atlas.open(where.atlas)
        denoised = anndata.read_zarr(where.denoised)
        result = DemoResult(
            settings=self.settings,
            evaluation=evaluation,
            start=start_label_scores(atlas),
            ceiling=truth_ceiling(where.simulated, atlas),
            denoising=denoising_agreement(where.simulated, atlas, denoised),
            activity=activity_agreement(where.simulated, anndata.read_zarr(where.activity)),
            sites=site_agreement(where.simulated, IsmResult.open(where.ism)),
            history=trained.history,
            seconds=self.seconds,
        )
        self.seconds["compare"] = time.monotonic() - began
        return result

    def _make(
        self, name: str, command: str, made: Path, work: Callable[[Subscriber], object]
    ) -> None:
        """Run a stage unless what it makes is there: stages' outputs appear whole or not at all."""
        self._stage(name, command, None if made.exists() else work)

    def _stage(self, name: str, command: str, work: Callable[[Subscriber], Any] | None) -> Any:
        self.output.line()
        self.output.line(f"{len(self.seconds) + 1}/{_N_STAGES} {name}", style="bold")
        self.output.line(f"$ atlasbasset {command}", style="cyan")
        began = time.monotonic()
        found = None
        if work is not None:
            with self.output.watching() as on_event:
                found = work(on_event)
        self.seconds[name] = 0.0 if work is None else time.monotonic() - began
        kept = "kept from an earlier run" if work is None else duration(self.seconds[name])
        self.output.line(f"{name}: {kept}", style="green")
        return found

    def _simulate(self, on_event: Subscriber) -> None:
        s = self.settings
        atlasstore.simulate(
            self.folder.simulated,
            n_cells=s.n_cells,
            n_peaks=s.n_peaks,
            n_cell_types=s.n_cell_types,
            n_motifs=s.n_motifs,
            density=s.density,
            seed=s.seed,
            on_event=on_event,
        )

    def _preprocess(self, on_event: Subscriber) -> None:
        atlasstore.preprocess(
            self.folder.simulated / "counts.h5ad",
            genome=self.folder.simulated / "genome.fa",
            out=self.folder.atlas,
            split_fractions=self.settings.split_fractions,
            seed=self.settings.seed,
            on_event=on_event,
        )

    def _train(self, on_event: Subscriber) -> TrainReport:
        s = self.settings
        config = atlasbasset.TrainConfig.recipe(
            "fast",
            epochs=s.epochs,
            batch_size=s.batch_size,
            n_auroc_peaks=s.n_auroc_peaks,
            compute=s.compute,
            seed=s.seed,
        )
        return atlasbasset.train(
            self.folder.atlas, out=self.folder.model, config=config, on_event=on_event
        )

    def _embed(self, _on_event: Subscriber) -> None:
        atlasbasset.embed(self.folder.model, out=self.folder.cells)

    def _evaluate(self, on_event: Subscriber) -> Evaluation:
        places = (self.folder.model, self.folder.atlas)
        try:
            return atlasbasset.evaluate(
                *places, label_key="cell_type", cluster=True, on_event=on_event
            )
        except MissingExtraError as error:
            on_event(Notice(f"No clusters: {error}"))
            return atlasbasset.evaluate(*places, label_key="cell_type", on_event=on_event)

    def _denoise(self, on_event: Subscriber) -> None:
        atlas = atlasstore.Atlas.open(self.folder.atlas)
        held_out = atlas.var.iloc[atlas.peak_rows("test")]
        bed = held_out[["chrom", "start", "end"]].to_csv(sep="\t", header=False, index=False)
        urls.write_bytes(self.folder.held_out_peaks, bed.encode())
        atlasbasset.denoise(
            self.folder.model,
            atlas,
            out=self.folder.denoised,
            peaks=self.folder.held_out_peaks,
            on_event=on_event,
        )

    def _motifs(self, on_event: Subscriber) -> None:
        where = self.folder
        atlasbasset.motif_activity(
            where.model,
            where.atlas,
            motifs=where.simulated / "motifs.meme",
            out=where.activity,
            n_backgrounds=self.settings.n_backgrounds,
            seed=self.settings.seed,
            on_event=on_event,
        )

    def _ism(self, peaks: Sequence[str], on_event: Subscriber) -> None:
        where = self.folder
        atlasbasset.ism(
            where.model,
            atlas=where.atlas,
            peaks=peaks,
            span=MUTATED_BP,
            group_by="cell_type",
            out=where.ism,
            on_event=on_event,
        )

    def _tracks(self, on_event: Subscriber) -> None:
        where = self.folder
        try:
            atlasbasset.tracks(
                where.model,
                where.atlas,
                group_by="cell_type",
                genome=where.simulated / "genome.fa",
                genome_wide=[self.settings.predicted_region],
                out=where.tracks,
                on_event=on_event,
            )
        except MissingExtraError as error:
            on_event(Notice(f"No tracks: {error}"))

    def _report(self, on_event: Subscriber) -> None:
        where = self.folder
        try:
            atlasbasset.report(
                where.model,
                *where.reported,
                out=where.report,
                label_key="cell_type",
                on_event=on_event,
            )
        except MissingExtraError as error:
            on_event(Notice(f"No report: {error}"))


def _write(folder: DemoFolder, result: DemoResult) -> None:
    cells = anndata.read_h5ad(folder.cells)
    labels = cells.obs["cell_type"].astype(str).tolist()
    save_picture(result, cells.obsm["X_scbasset"], labels, folder.picture)
    urls.write_bytes(folder.summary, json_output.as_text(result.as_json()).encode())


def _tell(result: DemoResult, folder: DemoFolder, output: Output) -> None:
    output.line()
    output.line("How close to the truth", style="bold")
    output.table(
        ("", "reached", "best possible", "chance"),
        [
            (row.measure, *(_figure(v) for v in (row.reached, row.best, row.chance)))
            for row in result.rows()
        ],
    )
    output.line()
    output.line(f"Picture {folder.picture}, all figures {folder.summary}")
    if folder.report.exists():
        output.line(f"Report {folder.report}: open it in a browser")


def _tell_times(seconds: Mapping[str, float], output: Output) -> None:
    """Say where the time went; a stage that was kept took none."""
    output.line()
    rows = [(stage, duration(taken) if taken else "kept") for stage, taken in seconds.items()]
    output.facts("Where the time went", [*rows, ("in all", duration(sum(seconds.values())))])


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
