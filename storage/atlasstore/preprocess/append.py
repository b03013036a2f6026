"""New samples into an atlas that exists: new arrays beside the old ones, then one write.

Cells are counted on the atlas's own peaks, found by chrom, start and end; no peak filter is
applied again. They go on where the atlas ends: the last block is filled up by a further part of
it, then come whole blocks, so all blocks but the last are full and models keep their layout.
The table of cells is written anew under another name. Until the group's own metadata, one small
file, is replaced, a reader sees the old atlas; afterwards the new one. Nothing old is rewritten,
so a reader that is at work stays right.
"""

from __future__ import annotations

import dataclasses
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from atlasstore import memory as memory_sizes
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import PeaksError, UserInputError
from atlasstore.events import Notice, Subscriber, ignore
from atlasstore.inputs.samples import Sample, plan_samples
from atlasstore.preprocess._settings import as_texts
from atlasstore.preprocess.filters import FilterSpec
from atlasstore.resume.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["AppendReport", "AppendSettings", "append", "peak_rows_of", "refuse_known"]


@dataclass(frozen=True, kw_only=True, slots=True)
class AppendSettings:
    """The resolved arguments, as they go into the atlas's provenance."""

    samples: tuple[Sample, ...]
    peaks: str | None
    min_peaks_per_cell: int
    min_mapq: int
    skip_bad: bool

    def as_config(self) -> dict[str, Any]:
        """Return JSON values."""
        return dataclasses.asdict(self)

    @property
    def files(self) -> list[str]:
        """Everything given that is read."""
        given = [text for sample in self.samples for text in (sample.url, sample.barcodes)]
        return [name for name in dict.fromkeys([*given, self.peaks]) if name is not None]


@dataclass(frozen=True, slots=True)
class AppendReport:
    """What `append` added."""

    atlas: str
    """URL of the atlas."""
    n_cells_in: int
    """Cells of the new inputs."""
    n_cells_few_peaks: int
    """Of these, removed for having fewer than `min_peaks_per_cell` open peaks."""
    n_cells_emptied: int
    """Of these, removed for having none of the atlas's peaks open."""
    n_cells_added: int
    """Cells added."""
    n_cells: int
    """Cells the atlas has now."""
    n_positives_added: int
    """Pairs of new cell and peak in which the peak is open."""
    n_blocks: int
    """Cell blocks the atlas has now."""
    samples: dict[str, int]
    """New sample -> cells added."""
    left_out: dict[str, str]
    """Sample -> why it was left out, with `skip_bad`."""
    input_bytes: int
    """Size of the inputs; each is read once."""
    dry_run: bool = False
    """Whether nothing was added. Open pairs then count all peaks of the inputs, and cells too."""
    peak_memory_bytes: int | None = None
    """Of a dry run: memory expected at most, of this process (of each of a cluster's workers)."""

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Undo `as_json`."""
        return cls(**values)


def append(
    inputs: str | Path | Sequence[str | Path],
    *,
    atlas: str | Path,
    peaks: str | Path | None = None,
    barcodes: str | Path | Sequence[str | Path] | None = None,
    min_peaks_per_cell: int = 1,
    samples: str | Sequence[str] | None = None,
    min_mapq: int = 30,
    skip_bad: bool = False,
    memory: str | int | None = None,
    dask: str | None = None,
    dry_run: bool = False,
    on_event: Subscriber = ignore,
) -> AppendReport:
    """Add samples to an atlas, at once: a reader sees the atlas as it was or with all of them.

    Killed at any moment and called again with the same arguments, it goes on.

    Parameters
    ----------
    inputs
        As for `preprocess`. They must have every peak of the atlas (same chrom, start, end, in
        any order); further ones are passed over.
    atlas
        Path or URL of a finished atlas.
    peaks
        BED that fragments and BAM are counted on, with every peak of the atlas; the atlas's own
        peaks by default.
    barcodes, samples, min_mapq, skip_bad, memory, dask, dry_run, on_event
        As for `preprocess`.
    min_peaks_per_cell
        A cell is added when at least this many of its input's peaks are open in it, and one of
        the atlas's.

    Returns
    -------
    AppendReport
        Cells before and after the filter, positives, blocks.

    Raises
    ------
    UserInputError
        When an input is wrong, lacks peaks of the atlas (`PeaksError`), a sample or a cell of the
        same name is in it already, or no cell is left. The atlas is as it was then.
    """
    from atlasstore.preprocess._append_steps import AppendWork  # here: compiled code, every reader
    from atlasstore.transpose.executors import open_workers

    spec = FilterSpec(min_cell_fraction=0.0, min_peaks_per_cell=min_peaks_per_cell)
    settings = AppendSettings(
        samples=plan_samples(
            as_texts(inputs), names=as_texts(samples) or None, barcodes=as_texts(barcodes) or None
        ),
        peaks=None if peaks is None else str(peaks),
        min_peaks_per_cell=min_peaks_per_cell,
        min_mapq=min_mapq,
        skip_bad=skip_bad,
    )
    bound = None if memory is None else memory_sizes.parse_size(memory)
    opened = Atlas.open(atlas)
    with ExitStack() as stack:
        workers = stack.enter_context(open_workers(dask, bound))
        work = AppendWork(opened, settings, spec, workers, on_event)
        if dry_run:
            return work.plan(stack.enter_context(tempfile.TemporaryDirectory()))
        config = {"append": settings.as_config()}
        ledger = stack.enter_context(
            Ledger.open(opened.url, config=config, inputs=settings.files, adds=True)
        )
        if ledger.n_done:
            on_event(Notice(f"Going on with {ledger.url}: {ledger.n_done:,} units are done."))
        report = work.make(ledger)
        ledger.publish()
    return report


def peak_rows_of(atlas: Atlas, peaks: pd.DataFrame, *, name: str) -> NDArray[np.int32]:
    """Return the atlas's row of each of an input's peaks, -1 for a peak it does not have.

    Raises
    ------
    PeaksError
        When the input lacks peaks of the atlas.
    """
    places = [_places(table) for table in (atlas.var, peaks)]
    rows = places[0].get_indexer(places[1]).astype(np.int32)
    lacking = np.flatnonzero(~np.isin(np.arange(atlas.n_peaks), rows))
    if lacking.size:
        first = ", ".join(f"{c}:{s}-{e}" for c, s, e in places[0][lacking[:3]])
        raise PeaksError(
            f"{name} has {atlas.n_peaks - lacking.size:,} of the {atlas.n_peaks:,} peaks of "
            f"{atlas.url}; it lacks {lacking.size:,} ({first}{', ...' if lacking.size > 3 else ''})"
            ". Count it on the atlas's peaks, or make a new atlas of all samples."
        )
    return rows


def refuse_known(atlas: Atlas, obs: pd.DataFrame) -> None:
    """Raise UserInputError when a sample or a cell of `obs` is in the atlas already."""
    known = set(atlas.obs["sample"].astype(str)) & set(obs["sample"].astype(str))
    if known:
        raise UserInputError(
            f"{atlas.url} has a sample {min(known)} already; give another name (--samples), or "
            "leave that input out."
        )
    twice = obs.index[obs.index.isin(atlas.obs.index)]
    if len(twice):
        raise UserInputError(
            f"{atlas.url} has a cell {twice[0]} already ({len(twice):,} in all); give the samples "
            "other names (--samples)."
        )


def _places(table: pd.DataFrame) -> pd.MultiIndex:
    columns = [table["chrom"].astype(str), table["start"], table["end"]]
    return pd.MultiIndex.from_arrays(columns)
