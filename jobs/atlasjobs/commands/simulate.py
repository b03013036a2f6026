"""``atlasbasset simulate``: an atlas with known answers."""

from dataclasses import asdict
from typing import Annotated

import typer

from atlasjobs.options.common import Config, Debug, DryRun, Json

__all__ = ["simulate"]

Out = Annotated[str, typer.Argument(metavar="OUT", help="Folder to make; must not exist.")]
Cells = Annotated[int, typer.Option("--cells", help="Cells.")]
Peaks = Annotated[int, typer.Option("--peaks", help="Peaks, 10 or more.")]
CellTypes = Annotated[int, typer.Option("--cell-types", help="Cell types.")]
RareTypes = Annotated[int, typer.Option("--rare-types", help="How many of them are rare.")]
RareShare = Annotated[
    float, typer.Option("--rare-share", help="Share of the cells of each rare type, to 0.5.")
]
Motifs = Annotated[
    str | None,
    typer.Option("--motifs", metavar="MEME", help="MEME file to draw motifs from [built-in set]."),
]
NMotifs = Annotated[int, typer.Option("--n-motifs", help="Motifs planted in the peaks.")]
Batches = Annotated[int, typer.Option("--batches", help="Batches; 1 means no batch effect.")]
Density = Annotated[float, typer.Option("--density", help="Share of open peaks in a cell, 0..0.5.")]
DepthSd = Annotated[float, typer.Option("--depth-sd", help="Sd of ln(depth) over the cells, 0..3.")]
BatchEffect = Annotated[
    float, typer.Option("--batch-effect", help="Sd over the peaks of what a batch adds, 0..3.")
]
BatchShift = Annotated[
    float,
    typer.Option(
        "--batch-shift",
        help="What a batch adds to, or takes from, the log rates of some peaks, 0..3.",
    ),
]
BatchShiftShare = Annotated[
    float, typer.Option("--batch-shift-share", help="Share of the peaks it does so at, 0..1.")
]
BatchMix = Annotated[
    float,
    typer.Option(
        "--batch-mix",
        help="How far the batches' shares of the cell types differ, 0 (not at all) to below 1.",
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="The same seed gives the same files.")]


def simulate(
    out: Out,
    *,
    cells: Cells = 2000,
    peaks: Peaks = 10000,
    cell_types: CellTypes = 8,
    rare_types: RareTypes = 0,
    rare_share: RareShare = 0.01,
    motifs: Motifs = None,
    n_motifs: NMotifs = 16,
    batches: Batches = 1,
    density: Density = 0.05,
    depth_sd: DepthSd = 0.5,
    batch_effect: BatchEffect = 0.3,
    batch_shift: BatchShift = 0.0,
    batch_shift_share: BatchShiftShare = 0.2,
    batch_mix: BatchMix = 0.0,
    seed: Seed = 0,
    dry_run: DryRun = False,
    json: Json = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Make an atlas with known answers: counts, genome, motifs, peaks, truth."""
    from atlasjobs.output.console import Output
    from atlasjobs.reports.simulate import simulation_facts
    from atlasstore.simulation import plan_simulate

    plan = plan_simulate(
        out,
        n_cells=cells,
        n_peaks=peaks,
        n_cell_types=cell_types,
        rare_types=rare_types,
        rare_share=rare_share,
        motifs=motifs,
        n_motifs=n_motifs,
        n_batches=batches,
        density=density,
        depth_sd=depth_sd,
        batch_effect=batch_effect,
        batch_shift=batch_shift,
        batch_shift_share=batch_shift_share,
        batch_mix=batch_mix,
        seed=seed,
    )
    output = Output(json)
    if (report := output.carry_out(plan, dry_run=dry_run)) is not None:
        output.facts(f"Simulated {out}", simulation_facts(report))
        output.json(asdict(report))
