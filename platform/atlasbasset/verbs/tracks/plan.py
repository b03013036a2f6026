"""The plan of `tracks`: which groups, which places, and how large it becomes."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from atlasbasset.batch.model_source import model_identity
from atlasbasset.inference.groups import group_labels, mean_embeddings
from atlasbasset.verbs.shared.atlas_peaks import check_window, embed_peaks
from atlasbasset.verbs.shared.plan import PlannedModel, notice_lines
from atlasbasset.verbs.shared.regions import parsed_region, refuse_overlaps
from atlasbasset.verbs.shared.same_cells import check_same_cells
from atlasbasset.verbs.shared.track_set import bigtools
from atlasbasset.verbs.tracks.folder import TrackFolder
from atlasbasset.verbs.tracks.page import igv_files
from atlasbasset.verbs.tracks.report import TracksReport
from atlasbasset.verbs.tracks.sequence import chromosome_lengths
from atlasbasset.verbs.tracks.values import GroupLogits, observed_shares, predicted_windows
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import UserInputError
from atlasstore.events import Notice
from atlasstore.files import remote, urls
from atlasstore.files.staging import refuse_existing, staged
from atlasstore.genome.fasta import Genome
from atlasstore.genome.genes import gene_bodies
from atlasstore.plans import Plan
from atlasstore.text_units import count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

    from atlasbasset.core.compute import Compute, ConvolutionChoice
    from atlasbasset.inference.cell_labels import CellLabels, Obs
    from atlasbasset.inference.model import Model
    from atlasbasset.verbs.shared.regions import Region
    from atlasstore.events import Subscriber
    from atlasstore.plans import Lines

__all__ = ["TracksPlan", "plan_tracks"]


@dataclass(frozen=True, eq=False, repr=False)
class TracksPlan(Plan[TracksReport]):
    """Checked input of `tracks`; made by `plan_tracks`."""

    model: PlannedModel
    atlas: Atlas
    labels: CellLabels
    regions: tuple[Region, ...]
    """Stretches that are predicted along the genome."""
    genome: str | Path | None
    genes: pd.DataFrame | None
    """From `gene_bodies`."""
    lengths: dict[str, int]
    """Of the chromosomes."""
    step_bp: int
    with_sequence: bool
    out: str

    @property
    def title(self) -> str:
        """What would be done."""
        return f"Would write tracks of groups of {self.labels.key!r} into {self.out}"

    @property
    def n_windows(self) -> int:
        """Windows that are predicted along the genome."""
        return sum(region.n_windows(self.step_bp) for region in self.regions)

    @property
    def kinds(self) -> tuple[str, ...]:
        """What is shown of each group."""
        return ("denoised", "observed", *(["predicted"] if self.regions else []))

    def lines(self) -> Lines:
        """Return groups, peaks, windows and files."""
        n_groups = len(self.labels.names)
        windows = f"{count(self.n_windows)}, every {count(self.step_bp)} bp"
        return [
            ("groups", f"{count(n_groups)} by {self.labels.key}"),
            ("peaks", count(self.atlas.n_peaks)),
            *([("windows", windows)] if self.regions else []),
            ("bigWig files", count(n_groups * len(self.kinds))),
            *notice_lines("left out", self.labels.notice()),
        ]

    def values(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "out": self.out,
            "n_groups": len(self.labels.names),
            "n_peaks": self.atlas.n_peaks,
            "n_windows": self.n_windows,
            "kinds": list(self.kinds),
        }

    def _run(self, on_event: Subscriber) -> TracksReport:
        if sentence := self.labels.notice():
            on_event(Notice(sentence))
        with _local_folder(self.out) as place:
            folder = TrackFolder(place, self.lengths, self.labels)
            self._write(folder, on_event)
            files = [path for path in place.rglob("*") if path.is_file()]
            n_bytes = sum(path.stat().st_size for path in files)
        return TracksReport(
            out=self.out,
            groups=self.labels.names,
            kinds=self.kinds,
            n_peaks=self.atlas.n_peaks,
            n_windows=self.n_windows,
            n_files=len(files),
            n_bytes=n_bytes,
        )

    def _write(self, folder: TrackFolder, on_event: Subscriber) -> None:
        model, atlas = self.model.loaded, self.atlas
        h = embed_peaks(model, atlas, np.arange(atlas.n_peaks), on_event=on_event)
        groups = mean_embeddings(model.cell_embedding, self.labels)
        logits = GroupLogits.of(model, groups, h)
        if model.deviations is not None and model.deviations.fit(atlas.var):
            h += model.deviations.deviation
        denoised = logits.probability(h)
        folder.write_peaks("denoised", atlas.var, denoised)
        observed = observed_shares(atlas, self.labels, on_event=on_event)
        folder.write_peaks("observed", atlas.var, observed)
        with ExitStack() as stack:
            genome = None if self.genome is None else stack.enter_context(Genome.open(self.genome))
            if self.regions and genome is not None:
                self._predict(folder, genome, logits, on_event)
            folder.write_page(
                atlas.var,
                denoised,
                model=self.model.url,
                identity=_identity(model),
                atlas=atlas.url,
                genes=self.genes,
                sequence=genome if self.with_sequence else None,
                regions=self.regions,
            )

    def _predict(
        self, folder: TrackFolder, genome: Genome, logits: GroupLogits, on_event: Subscriber
    ) -> None:
        with tempfile.TemporaryDirectory(prefix="atlasbasset-") as made:
            parts = [
                predicted_windows(
                    self.model.loaded,
                    genome,
                    region,
                    logits,
                    self.step_bp,
                    Path(made, str(number)),
                    on_event=on_event,
                )
                for number, region in enumerate(self.regions)
            ]
            folder.write_windows("predicted", self.regions, parts, self.step_bp)
            del parts  # the files are gone when the block ends


def _identity(model: Model) -> dict[str, str]:
    """Return what tells the model from others, whatever arithmetic it is computed in."""
    found = model_identity(model)
    return {part: found[part] for part in ("trunk", "cells", "names")}


@contextmanager
def _local_folder(out: str) -> Iterator[Path]:
    """Yield a new folder on this machine whose files are at `out` at the end, the page last."""
    with staged(out) as place:
        if urls.is_local(place):
            folder = urls.local_path(place)
            folder.mkdir()
            yield folder
            return
        with tempfile.TemporaryDirectory(prefix="atlasbasset-") as made:
            yield Path(made)
            fs, target = urls.filesystem(place)
            names = [str(p.relative_to(made)) for p in sorted(Path(made).rglob("*")) if p.is_file()]
            with remote.outage_errors(place):
                for name in sorted(names, key=lambda name: name == "index.html"):
                    fs.put_file(str(Path(made, name)), f"{target}/{name}")


def plan_tracks(
    model: str | Path | Model,
    atlas: str | Path | Atlas,
    *,
    group_by: str,
    out: str | Path,
    obs: Obs | None = None,
    genome: str | Path | None = None,
    genome_wide: Sequence[str] = (),
    step_bp: int = 128,
    genes: str | Path | None = None,
    with_sequence: bool = False,
    compute: Compute = "fp32",
    convolution: ConvolutionChoice = "auto",
) -> TracksPlan:
    """Plan `tracks`: check its input; nothing is written.

    Parameters are those of `tracks`, and so are the errors that are raised.

    Examples
    --------
    >>> print(plan_tracks("model.zarr", "atlas.zarr", group_by="cell_type",
    ...                   out="tracks"))  # doctest: +SKIP
    """
    refuse_existing(out)
    bigtools()
    igv_files()
    if step_bp < 1:
        raise UserInputError(f"step_bp must be 1 or more, got {step_bp}.")
    if genome is None and (genome_wide or with_sequence):
        what = "predictions along the genome" if genome_wide else "the page's sequence"
        raise UserInputError(f"{what} need the genome; give its FASTA (genome).")
    cells = atlas if isinstance(atlas, Atlas) else Atlas.open(atlas)
    planned = PlannedModel.of(model, compute=compute, convolution=convolution)
    check_same_cells(planned.store, cells)
    check_window(planned.store, cells)
    labels = group_labels(planned.store.obs, group_by, obs=obs, what=planned.url)
    if labels is None:
        raise UserInputError("name the column whose groups have tracks (group_by).")
    with ExitStack() as stack:
        opened = None if genome is None else stack.enter_context(Genome.open(genome))
        lengths = chromosome_lengths(cells.var, opened, margin_bp=cells.window_bp)
        known = {} if opened is None else opened.chrom_lengths
        regions = tuple(parsed_region(text, known) for text in genome_wide)
    refuse_overlaps(regions)
    lengths |= {region.chrom: known[region.chrom] for region in regions}
    return TracksPlan(
        planned,
        cells,
        labels,
        regions,
        genome,
        None if genes is None else gene_bodies(genes),
        lengths,
        step_bp,
        with_sequence,
        str(out),
    )
