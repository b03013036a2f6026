"""Appending samples to an atlas: new arrays next to the existing ones, then one write.

Cells are counted on the atlas's own peaks, found by chrom, start and end; no peak filter is
applied again. They follow the atlas's last cell: the last block is filled up by a further part,
then come whole blocks, so all blocks except the last are full and models keep their layout.
The table of cells is written under a new name. Until the group's own metadata, one small file, is
replaced, a reader sees the old atlas; afterwards the new one. Existing data is not rewritten, so
active readers are not affected.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from typing import TYPE_CHECKING

from atlasstore import memory as memory_sizes
from atlasstore.atlas.atlas import Atlas
from atlasstore.cards.store_card import refresh_card
from atlasstore.events import Notice
from atlasstore.inputs.in_memory import input_urls, release
from atlasstore.inputs.samples import plan_samples
from atlasstore.preprocess._append_settings import AppendReport, AppendSettings
from atlasstore.preprocess._settings import as_texts, counts_place
from atlasstore.preprocess.filters import FilterSpec
from atlasstore.preprocess.plan import check_reach
from atlasstore.progress import shown
from atlasstore.resume.executors import open_executor
from atlasstore.resume.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from anndata import AnnData

    from atlasstore.events import Subscriber
    from atlasstore.resume.units import Executor


__all__ = ["AppendReport", "append"]


def append(
    inputs: str | Path | AnnData | Sequence[str | Path | AnnData],
    *,
    atlas: str | Path,
    peaks: str | Path | None = None,
    barcodes: str | Path | Sequence[str | Path] | None = None,
    min_peaks_per_cell: int = 1,
    samples: str | Sequence[str] | None = None,
    min_mapq: int = 30,
    skip_bad: bool = False,
    layer: str | None = None,
    use_raw: bool = False,
    memory: str | int | None = None,
    dask: str | None = None,
    executor: Executor | None = None,
    dry_run: bool = False,
    on_event: Subscriber | None = None,
) -> AppendReport:
    """Add samples to an atlas, at once: a reader sees the atlas as it was or with all of them.

    Killed at any moment and called again with the same arguments, it resumes.

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
    barcodes, samples, min_mapq, skip_bad, layer, use_raw, memory, dask, executor, dry_run, on_event
        As for `preprocess`.
    min_peaks_per_cell
        A cell is added when at least this many of its input's peaks are open in it, and one of
        the atlas's.

    Examples
    --------
    >>> append("new_donor.h5ad", atlas="atlas.zarr", samples="donor 9")  # doctest: +SKIP

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
    from atlasstore.preprocess._append_steps import AppendSteps  # here: compiled code, every reader

    spec = FilterSpec(min_cell_fraction=0.0, min_peaks_per_cell=min_peaks_per_cell)
    bound = None if memory is None else memory_sizes.parse_size(memory)
    opened = Atlas.open(atlas)
    with ExitStack() as stack:
        subscriber = stack.enter_context(shown(on_event))
        given = input_urls(inputs)
        stack.callback(release, given)
        check_reach(given, dask, executor)
        settings = AppendSettings(
            samples=plan_samples(
                given, names=as_texts(samples) or None, barcodes=as_texts(barcodes) or None
            ),
            peaks=None if peaks is None else str(peaks),
            min_peaks_per_cell=min_peaks_per_cell,
            min_mapq=min_mapq,
            skip_bad=skip_bad,
            matrix=counts_place(layer, use_raw=use_raw),
        )
        runner = executor or stack.enter_context(open_executor(dask, bound))
        work = AppendSteps(opened, settings, spec, runner, subscriber)
        if dry_run:
            return work.plan(stack.enter_context(tempfile.TemporaryDirectory()))
        config = {"append": settings.as_config()}
        ledger = stack.enter_context(
            Ledger.open(opened.url, config=config, inputs=settings.files, adds=True)
        )
        if ledger.has_begun:
            subscriber(
                Notice(f"Resuming {ledger.url}: what has a receipt there is not done again.")
            )
        report = work.make(ledger)
        refresh_card(opened.url)
        ledger.publish()
    return report
