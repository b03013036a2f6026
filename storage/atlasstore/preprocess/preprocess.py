"""Counts and a genome in, an atlas out.

The inputs are surveyed, then read once into scratch files next to the atlas, from which everything
else is computed: the cells and peaks to keep (`filters`), and block by block the peak-major labels
(`transpose`). A few scratch files, a range of a block's labels and a range of sequences are in
memory, never a matrix. Finished units are recorded (`ledger`), so that the same call resumes after
a crash.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlasstore.zarrio.blocks import MIN_BLOCKS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from anndata import AnnData

    from atlasstore.atlas.split import SplitMethod
    from atlasstore.events import Subscriber
    from atlasstore.preprocess.report import PreprocessReport
    from atlasstore.resume.units import Executor

__all__ = ["preprocess"]


def preprocess(
    inputs: str | Path | AnnData | Sequence[str | Path | AnnData],
    *,
    genome: str | Path,
    out: str | Path,
    peaks: str | Path | None = None,
    barcodes: str | Path | Sequence[str | Path] | None = None,
    min_cell_fraction: float = 0.01,
    min_peaks_per_cell: int = 1,
    window_bp: int = 1344,
    flank_bp: int = 3,
    min_blocks: int = MIN_BLOCKS,
    split: SplitMethod = "grouped",
    split_fractions: Sequence[float] = (0.90, 0.05, 0.05),
    holdout: str | Sequence[str] = (),
    seed: int = 0,
    samples: str | Sequence[str] | None = None,
    min_mapq: int = 30,
    skip_bad: bool = False,
    layer: str | None = None,
    use_raw: bool = False,
    drop_unplaced_peaks: bool = False,
    strict: bool = False,
    allow_unknown_windows: bool = False,
    memory: str | int | None = None,
    dask: str | None = None,
    executor: Executor | None = None,
    dry_run: bool = False,
    on_event: Subscriber | None = None,
) -> PreprocessReport:
    """Make an atlas from counts and a genome.

    Killed at any moment and called again with the same arguments, it resumes with what is done in
    the folder ``OUT.partial`` and makes the same atlas, byte for byte. `memory` and `dask` may
    change on the way.

    Parameters
    ----------
    inputs
        One input, or several samples on the same peaks: paths, URLs or patterns of AnnData
        ``.h5ad`` or ``.zarr``, 10x ``.h5``, 10x matrix folders, fragments or BAM; an AnnData in
        memory with raw counts in X, of which a compressed copy is held meanwhile; or one sample
        sheet (``.csv``).
    genome
        FASTA on this machine, plain or compressed with bgzip.
    out
        Path or URL of the atlas; nothing may exist there.
    peaks
        BED or narrowPeak file, for inputs that are fragments or BAM.
    barcodes
        Barcode list, one for each input.
    min_cell_fraction
        A peak is kept when open (count > 0) in at least this share of the cells, 0..1.
    min_peaks_per_cell
        A cell is kept when at least this many peaks are open in it.
    window_bp
        Length of a peak's window in bp, a positive multiple of 192.
    flank_bp
        Bases stored beyond the window on either side, for shifted windows in training.
    min_blocks
        Cell blocks at least, where cells suffice: as many workers can share a training. Each costs
        some 10 stored objects.
    split
        What is dealt to train, validation and test as a whole: "grouped", windows that overlap
        (flanks included), so that no two splits share a base; "chromosome"; or "random", single
        peaks, as the released scBasset code does: held-out windows then overlap training ones.
    split_fractions
        Shares of train, validation and test peaks.
    holdout
        Chromosomes whose peaks are the test peaks; the others are split into train and validation
        by the ratio of their fractions.
    seed
        Seed of the split.
    samples
        One name for each input, in place of the file names.
    min_mapq
        Least mapping quality of reads, for BAM.
    skip_bad
        Leave out inputs that cannot be used, with a notice for each, in place of raising.
    layer, use_raw
        Take the counts of AnnData inputs from this layer, or from ``raw``, in place of X.
    drop_unplaced_peaks
        Leave out peaks on chromosomes that the genome lacks and past a chromosome's end, with a
        notice that names them, in place of raising.
    strict
        Refuse peaks that do not look like peaks of this genome, in place of a notice.
    allow_unknown_windows
        Go on when more than half of the windows have no known base.
    memory
        Bound on this process's memory (on each worker's with `dask`), in bytes or as ``"2GB"``;
        by default half of what is free.
    dask
        Address of a running Dask scheduler whose workers read and write; this process's threads
        by default.
    executor
        Who reads and writes, in place of `dask`; `atlasbasset.preprocess` gives one of Ray.
    dry_run
        Read and plan, but write nothing; see also `plan_preprocess`.
    on_event
        Called with notices and progress; by default a bar is shown on a terminal or in a notebook.

    Returns
    -------
    PreprocessReport
        Cells and peaks before and after each filter, positives, blocks, splits, bytes, passes.

    Examples
    --------
    >>> preprocess("counts.h5ad", genome="genome.fa", out="atlas.zarr")  # doctest: +SKIP
    >>> adata = adata[:, adata.var["selected"]]  # doctest: +SKIP
    >>> preprocess(adata, genome="genome.fa", out="atlas.zarr")  # doctest: +SKIP

    Raises
    ------
    UserInputError
        When an input is wrong (`CountsError`, `PeaksError`, `GenomeError`), nothing is left after
        filtering, an argument is out of bounds, the memory is too little, `out` exists
        (`StoreExistsError`) or an unfinished run with other arguments is in its place. Nothing
        new is left then.
    """
    from atlasstore.preprocess.plan import plan_preprocess  # takes half a second

    plan = plan_preprocess(
        inputs,
        genome=genome,
        out=out,
        peaks=peaks,
        barcodes=barcodes,
        min_cell_fraction=min_cell_fraction,
        min_peaks_per_cell=min_peaks_per_cell,
        window_bp=window_bp,
        flank_bp=flank_bp,
        min_blocks=min_blocks,
        split=split,
        split_fractions=split_fractions,
        holdout=holdout,
        seed=seed,
        samples=samples,
        min_mapq=min_mapq,
        skip_bad=skip_bad,
        layer=layer,
        use_raw=use_raw,
        drop_unplaced_peaks=drop_unplaced_peaks,
        strict=strict,
        allow_unknown_windows=allow_unknown_windows,
        memory=memory,
        dask=dask,
        executor=executor,
    )
    return (plan.read if dry_run else plan.run)(on_event=on_event)
