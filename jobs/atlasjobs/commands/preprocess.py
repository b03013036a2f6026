"""``atlasbasset preprocess``: counts and a genome in, an atlas out."""

from typing import Annotated

import typer

from atlasjobs.options import Config, Debug, DryRun, Json

__all__ = ["preprocess"]

Inputs = Annotated[
    list[str],
    typer.Argument(
        metavar="INPUT...",
        help="AnnData .h5ad or .zarr, 10x .h5, 10x matrix folder, or fragments.tsv.gz; several "
        "on the same peaks are several samples.",
        show_default=False,
    ),
]
Genome = Annotated[
    str, typer.Option("--genome", metavar="FASTA", help="Genome, plain or bgzip FASTA.")
]
Out = Annotated[
    str, typer.Option("--out", metavar="ATLAS", help="Path or URL of the atlas; must not exist.")
]
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
Holdout = Annotated[
    list[str] | None,
    typer.Option("--holdout", metavar="CHROM", help="Test on this chromosome; repeatable."),
]
SplitFractions = Annotated[
    tuple[float, float, float],
    typer.Option(
        "--split-fractions", metavar="TRAIN VALID TEST", help="Shares of the peaks; sum to 1."
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Of the split.")]
Samples = Annotated[
    list[str] | None,
    typer.Option("--samples", metavar="NAME", help="Sample name, once per input [file names]."),
]


def preprocess(
    inputs: Inputs,
    *,
    genome: Genome,
    out: Out,
    peaks: Peaks = None,
    barcodes: Barcodes = None,
    min_cell_fraction: MinCellFraction = 0.01,
    min_peaks_per_cell: MinPeaksPerCell = 1,
    window_bp: WindowBp = 1344,
    flank_bp: FlankBp = 3,
    split_fractions: SplitFractions = (0.90, 0.05, 0.05),
    holdout: Holdout = None,
    seed: Seed = 0,
    samples: Samples = None,
    dry_run: DryRun = False,
    json: Json = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Make an atlas from counts and a genome."""
    from atlasjobs.console import Output
    from atlasjobs.facts import preprocess_facts
    from atlasstore import preprocess as work

    output = Output(json)
    with output.watching() as on_event:
        report = work(
            inputs,
            genome=genome,
            out=out,
            peaks=peaks,
            barcodes=barcodes or None,
            min_cell_fraction=min_cell_fraction,
            min_peaks_per_cell=min_peaks_per_cell,
            window_bp=window_bp,
            flank_bp=flank_bp,
            split_fractions=split_fractions,
            holdout=tuple(holdout or ()),
            seed=seed,
            samples=samples or None,
            dry_run=dry_run,
            on_event=on_event,
        )
    title = f"Would make the atlas {out}" if dry_run else f"Made the atlas {out}"
    output.report(title, preprocess_facts(report), report)
