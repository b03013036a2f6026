"""``atlasbasset preprocess``: counts and a genome in, an atlas out; or samples into an atlas."""

from typing import Annotated, Any, Literal

import typer

from atlasjobs.options.common import Config, Debug, DryRun, Json, Workers

__all__ = ["preprocess"]

Inputs = Annotated[
    list[str],
    typer.Argument(
        metavar="INPUT...",
        help="AnnData .h5ad or .zarr, MuData .h5mu, 10x .h5, 10x matrix folder, fragments.tsv.gz "
        "or a folder of BAM; several (also a pattern, or a sample sheet .csv) are several samples.",
        show_default=False,
    ),
]
Genome = Annotated[
    str | None,
    typer.Option(
        "--genome",
        metavar="FASTA",
        help="Genome, plain or bgzip FASTA; needed but with --append.",
        show_default=False,
    ),
]
Out = Annotated[
    str,
    typer.Option(
        "--out", metavar="ATLAS", help="Path or URL of the atlas; must not exist, but for --append."
    ),
]
Append = Annotated[
    bool,
    typer.Option("--append", help="Add the inputs to the atlas that is there, on its peaks."),
]
Memory = Annotated[
    str | None,
    typer.Option(
        "--memory",
        metavar="SIZE",
        help="Bound on memory, such as 2GB (of each worker with --dask) [half of what is free].",
        show_default=False,
    ),
]
Dask = Annotated[
    str | None,
    typer.Option(
        "--dask",
        metavar="ADDRESS",
        help="Scheduler of a running Dask cluster, such as tcp://host:8786 [this machine's cores].",
        show_default=False,
    ),
]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Leave out inputs that cannot be used, and say which.")
]
Strict = Annotated[
    bool,
    typer.Option("--strict", help="Refuse peaks that do not look like peaks of this genome."),
]
AllowUnknown = Annotated[
    bool,
    typer.Option(
        "--allow-unknown-windows",
        help="Go on when more than half of the windows have no known base.",
    ),
]
Layer = Annotated[
    str | None,
    typer.Option(
        "--layer", metavar="NAME", help="Counts are in this layer of AnnData inputs, not in X."
    ),
]
UseRaw = Annotated[bool, typer.Option("--use-raw", help="Counts are in raw of AnnData inputs.")]
DropUnplaced = Annotated[
    bool,
    typer.Option(
        "--drop-unplaced-peaks",
        help="Leave out peaks on chromosomes the genome lacks or past their ends, and say which.",
    ),
]
MinMapq = Annotated[int, typer.Option("--min-mapq", help="Least mapping quality, for BAM.")]
Peaks = Annotated[
    str | None,
    typer.Option("--peaks", metavar="BED", help="BED or narrowPeak, for fragments."),
]
Barcodes = Annotated[
    list[str] | None,
    typer.Option("--barcodes", metavar="FILE", help="Barcode list, once per input; for fragments."),
]
MinCellFraction = Annotated[
    float,
    typer.Option("--min-cell-fraction", help="Keep peaks open in this share of the cells, 0..1."),
]
MinPeaksPerCell = Annotated[
    int, typer.Option("--min-peaks-per-cell", help="Keep cells with this many open peaks.")
]
WindowBp = Annotated[
    int, typer.Option("--window-bp", help="Window around a peak's centre, bp; multiple of 192.")
]
FlankBp = Annotated[
    int, typer.Option("--flank-bp", help="Bases stored beyond either side of the window, bp.")
]
MinBlocks = Annotated[
    int,
    typer.Option("--min-blocks", help="Cell blocks at least: as many workers can train together."),
]
Holdout = Annotated[
    list[str] | None,
    typer.Option("--holdout", metavar="CHROM", help="Test on this chromosome; repeatable."),
]
Split = Annotated[
    Literal["grouped", "random", "chromosome"],
    typer.Option(
        "--split",
        metavar="METHOD",
        help="Dealt whole to train, validation and test: grouped (windows that overlap), random "
        "(single peaks, as the released code: splits share bases), or chromosome.",
    ),
]
SplitFractions = Annotated[
    tuple[float, float, float],
    typer.Option(
        "--split-fractions",
        metavar="SHARES",
        help="Shares of the peaks: train, validation, test; sum to 1.",
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Of the split.")]
Samples = Annotated[
    list[str] | None,
    typer.Option("--samples", metavar="NAME", help="Sample name, once per input [file names]."),
]


def preprocess(
    context: typer.Context,
    inputs: Inputs,
    *,
    out: Out,
    genome: Genome = None,
    append: Append = False,
    peaks: Peaks = None,
    barcodes: Barcodes = None,
    min_cell_fraction: MinCellFraction = 0.01,
    min_peaks_per_cell: MinPeaksPerCell = 1,
    window_bp: WindowBp = 1344,
    flank_bp: FlankBp = 3,
    min_blocks: MinBlocks = 16,
    split: Split = "grouped",
    split_fractions: SplitFractions = (0.90, 0.05, 0.05),
    holdout: Holdout = None,
    seed: Seed = 0,
    samples: Samples = None,
    min_mapq: MinMapq = 30,
    skip_bad: SkipBad = False,
    layer: Layer = None,
    use_raw: UseRaw = False,
    drop_unplaced_peaks: DropUnplaced = False,
    strict: Strict = False,
    allow_unknown_windows: AllowUnknown = False,
    memory: Memory = None,
    dask: Dask = None,
    workers: Workers = 0,
    dry_run: DryRun = False,
    json: Json = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Make an atlas from counts and a genome, or add samples to one."""
    from atlasbasset.verbs.preprocess import append as work_append
    from atlasbasset.verbs.preprocess import preprocess as work
    from atlasjobs.output.console import Output
    from atlasstore.preprocess.lines import append_lines, preprocess_lines

    output = Output(json)
    common: dict[str, Any] = {
        "peaks": peaks,
        "barcodes": barcodes or None,
        "min_peaks_per_cell": min_peaks_per_cell,
        "samples": samples or None,
        "min_mapq": min_mapq,
        "skip_bad": skip_bad,
        "layer": layer,
        "use_raw": use_raw,
        "memory": memory,
        "dask": dask,
        "workers": workers,
    }
    _refuse_two_clusters(dask, workers)
    with output.watching() as on_event:
        if append:
            _refuse_unused(context)
            added = work_append(inputs, atlas=out, dry_run=dry_run, on_event=on_event, **common)
        else:
            report = work(
                inputs,
                genome=_needed(genome),
                out=out,
                min_cell_fraction=min_cell_fraction,
                window_bp=window_bp,
                flank_bp=flank_bp,
                min_blocks=min_blocks,
                split=split,
                split_fractions=split_fractions,
                holdout=tuple(holdout or ()),
                seed=seed,
                drop_unplaced_peaks=drop_unplaced_peaks,
                strict=strict,
                allow_unknown_windows=allow_unknown_windows,
                dry_run=dry_run,
                on_event=on_event,
                **common,
            )
    if append:
        title = f"Would add to the atlas {out}" if dry_run else f"Added to the atlas {out}"
        output.report(title, append_lines(added), added)
        return
    title = f"Would make the atlas {out}" if dry_run else f"Made the atlas {out}"
    output.report(title, preprocess_lines(report), report)


def _refuse_two_clusters(dask: str | None, workers: int) -> None:
    from atlasstore.errors import UserInputError

    if dask is not None and workers:
        raise UserInputError("--dask and --workers (Ray) were both given; choose one of them.")


def _needed(genome: str | None) -> str:
    from atlasstore.errors import GenomeError

    if genome is None:
        raise GenomeError("a genome is needed to make an atlas; give its FASTA (--genome).")
    return genome


def _refuse_unused(context: typer.Context) -> None:
    """Raise UserInputError when an option was given that --append has no use for."""
    from atlasstore.errors import UserInputError

    given = [
        name
        for name in _OF_NEW_ATLASES
        if getattr(context.get_parameter_source(name), "name", "DEFAULT") != "DEFAULT"
    ]
    if given:
        option = f"--{given[0].replace('_', '-')}"
        raise UserInputError(
            f"{option} has no meaning with --append, which keeps the atlas's peaks, windows and "
            f"split; leave {option} out."
        )


_OF_NEW_ATLASES = (
    "genome",
    "min_cell_fraction",
    "window_bp",
    "flank_bp",
    "min_blocks",
    "split",
    "split_fractions",
    "holdout",
    "seed",
    "drop_unplaced_peaks",
    "strict",
    "allow_unknown_windows",
)
"""Parameters that say how an atlas is made."""
